//! Any unwind table, info blocks and stacks, under any look-up answer: a step or one of the engine's errors, each
//! answer freed once, the same again from what was learned, and nothing moved by an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use odograph_unwind::ia64::{
    key, Answer, ByteOrder, Datum, Env, Failure, Pair, Question, Register, Request, Special, Stepped, Target,
};

/// Code, tables and stacks are the same bytes, which lie here.
const BASE: u64 = 0x4000_0000_0000_0000;

struct Anything<'a> {
    bytes: &'a [u8],
    chosen: u8,
    table: [u64; 2],
    owed: u32,
    asked: u32,
}

impl Target for Anything<'_> {
    fn copy_in(&mut self, request: Request, place: u64, into: &mut [u8]) -> Result<bool, Failure> {
        self.asked += 1;
        if request == Request::Register {
            into.fill((place as u8) ^ self.chosen);
            return Ok(place % 31 != 30);
        }
        assert!(place % into.len() as u64 == 0);
        let Some(offset) = place.checked_sub(BASE).and_then(|offset| usize::try_from(offset).ok()) else {
            return Ok(false);
        };
        let Some(bytes) = self.bytes.get(offset..).and_then(|rest| rest.get(..into.len())) else {
            return Ok(false);
        };
        into.copy_from_slice(bytes);
        Ok(true)
    }

    fn look_up(&mut self, question: Question, ip: u64, pairs: &mut Vec<Pair>) -> Result<Answer, Failure> {
        if question != Question::Unwind {
            return Ok(Answer::NotFound);
        }
        let flags = u64::from(self.chosen & 1) << 63;
        let [start, end] = self.table;
        let answer = match self.chosen >> 1 & 3 {
            0 | 1 => {
                *pairs = vec![
                    (key::TBASE, Datum::Word(BASE)),
                    (key::UFLAGS, Datum::Word(flags)),
                    (key::USTART, Datum::Word(start)),
                    (key::UEND, Datum::Word(end)),
                ];
                Answer::Table
            }
            2 => {
                *pairs = vec![
                    (key::UINFO, Datum::Word(start)),
                    (key::FUNCSTART, Datum::Word(BASE)),
                    (key::UFLAGS, Datum::Word(flags)),
                ];
                Answer::Information
            }
            _ => {
                *pairs = vec![(key::NEWIP, Datum::Word(ip ^ 0x100))];
                Answer::Remap
            }
        };
        self.owed += u32::from(answer.is_freed());
        Ok(answer)
    }

    fn free(&mut self, _: u64) -> Result<(), Failure> {
        self.owed -= 1;
        Ok(())
    }
}

fn four(env: &mut Env, target: &mut Anything<'_>) -> [String; 4] {
    [Special::Ip, Special::Sp, Special::Bsp, Special::Cfm]
        .map(|special| format!("{:?}", env.register(target, Register::Special(special))))
}

// The first byte chooses answers; two say where the table is; then come ip, sp, bsp and cfm, and everything else.
fuzz_target!(|data: &[u8]| {
    let Some((head, bytes)) = data.split_first_chunk::<16>() else { return };
    let word = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let table = [BASE + word(1), BASE + word(3)];
    let mut target = Anything { bytes, chosen: head[0], table, owed: 0, asked: 0 };
    let mut env = Env::new();
    env.set_byte_order(if head[0] & 8 == 0 { ByteOrder::Little } else { ByteOrder::Big });
    if head[0] & 16 != 0 {
        env.skip_floats();
    }
    let begin = [BASE + word(5), BASE + word(7), BASE + word(9), word(11) | word(13) << 14];
    let mut seen: Option<Vec<[String; 4]>> = None;
    for _ in 0..2 {
        env.init_context(begin[0], begin[1], begin[2], begin[3]);
        let mut frames = vec![four(&mut env, &mut target)];
        for _ in 0..8 {
            let before = four(&mut env, &mut target);
            let stepped = env.step(&mut target);
            assert_eq!(target.owed, 0);
            let after = four(&mut env, &mut target);
            match stepped {
                Ok(Stepped::Caller) => frames.push(after),
                _ => {
                    assert_eq!(before, after);
                    break;
                }
            }
            for number in [0, 4, 5, 12, 32, 100, 127] {
                let _ = env.nat(&mut target, Register::General(number));
                let _ = env.location(&mut target, Register::General(number));
                let _ = env.register(&mut target, Register::Float(number));
            }
            let _ = env.symbol(&mut target);
        }
        match &seen {
            Some(seen) => assert_eq!(*seen, frames),
            None => seen = Some(frames),
        }
    }
    assert!(target.asked < 4_000_000);
});
