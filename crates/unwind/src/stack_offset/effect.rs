//! What an instruction does to what is known.

use iced_x86::{
    Code as Form, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

use super::state::{State, RBP, RSP};
use super::value::Value;

/// What is known behind an instruction; `cfa` has the low bits of the CFA. True if they mattered.
pub(super) fn apply(
    state: &mut State,
    instruction: &Instruction,
    factory: &mut InstructionInfoFactory,
    cfa: u64,
) -> bool {
    if instruction.rflags_modified() != 0 {
        state.compared = None;
    }
    let mut aligned = false;
    match instruction.mnemonic() {
        Mnemonic::Push => push(state, instruction),
        Mnemonic::Pop => pop(state, instruction, factory),
        Mnemonic::Leave => {
            let frame = state.get(RBP);
            state.set(RSP, frame);
            let value = state.load(state.offset());
            state.set(RBP, if matches!(frame, Value::Stack(_)) { value } else { Value::Unknown });
            state.move_by(8);
        }
        Mnemonic::Enter => {
            let value = state.get(RBP);
            state.move_by(-8);
            state.store(state.offset(), 8, value);
            state.set(RBP, state.get(RSP));
            // Nested levels (of no compiler) are words that nothing is known of.
            let levels = i64::from(instruction.immediate8_2nd() & 31);
            state.move_by(-i64::from(instruction.immediate16()) - 8 * levels);
        }
        Mnemonic::Mov => mov(state, instruction, factory),
        Mnemonic::Lea => match (target(instruction), address(state, instruction)) {
            (Some(register), value) if instruction.op0_register().is_gpr64() => state.set(register, value),
            _ => forget(state, instruction, factory),
        },
        Mnemonic::Add | Mnemonic::Sub => sum(state, instruction, factory),
        Mnemonic::And => aligned = align(state, instruction, factory, cfa),
        Mnemonic::Xor if same_registers(instruction) => {
            set_target(state, instruction, Value::Constant(0));
        }
        Mnemonic::Cmp => state.compared = compared(instruction),
        Mnemonic::Syscall => {
            for register in [0, 1, 11] {
                state.set(register, Value::Unknown);
            }
        }
        _ => match instruction.flow_control() {
            FlowControl::Call | FlowControl::IndirectCall => call(state, instruction),
            _ => forget(state, instruction, factory),
        },
    }
    aligned
}

/// What a conditional branch tells of the stack pointer where it was compared: stack probes end so.
pub(super) fn branch(state: &mut State, instruction: &Instruction, taken: bool) {
    let equal = match instruction.mnemonic() {
        Mnemonic::Jne => !taken,
        Mnemonic::Je => taken,
        _ => false,
    };
    if let (true, Some(register)) = (equal, state.compared) {
        if let value @ Value::Stack(_) = state.get(register) {
            state.set(RSP, value);
        }
    }
}

fn push(state: &mut State, instruction: &Instruction) {
    let amount = i64::from(instruction.stack_pointer_increment());
    let value = match instruction.op0_kind() {
        OpKind::Register => number(instruction.op0_register()).map_or(Value::Unknown, |one| state.get(one)),
        _ => Value::Unknown,
    };
    state.move_by(amount);
    state.store(state.offset(), amount.saturating_neg(), value);
}

fn pop(state: &mut State, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
    let amount = i64::from(instruction.stack_pointer_increment());
    let value = state.load(state.offset());
    match target(instruction).filter(|_| instruction.op0_register().is_gpr64()) {
        Some(RSP) => state.set(RSP, value),
        Some(register) => {
            state.set(register, value);
            state.move_by(amount);
        }
        None => forget(state, instruction, factory),
    }
}

fn call(state: &mut State, instruction: &Instruction) {
    let is_near = instruction.flow_control() == FlowControl::Call;
    if is_near && instruction.near_branch_target() == instruction.next_ip() {
        // Asks where it is: no return follows.
        state.move_by(-8);
        state.store(state.offset(), 8, Value::Unknown);
    } else {
        state.call();
    }
}

fn mov(state: &mut State, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
    match (instruction.op0_kind(), instruction.op1_kind()) {
        (OpKind::Register, OpKind::Register)
            if instruction.op0_register().is_gpr64() && instruction.op1_register().is_gpr64() =>
        {
            let value = number(instruction.op1_register()).map_or(Value::Unknown, |one| state.get(one));
            set_target(state, instruction, value);
        }
        (OpKind::Register, OpKind::Memory) if instruction.op0_register().is_gpr64() => {
            let value = match address(state, instruction) {
                Value::Stack(at) if instruction.segment_prefix() == Register::None => state.load(at),
                _ => Value::Unknown,
            };
            set_target(state, instruction, value);
        }
        (OpKind::Memory, OpKind::Register) if instruction.op1_register().is_gpr64() => {
            let value = number(instruction.op1_register()).map_or(Value::Unknown, |one| state.get(one));
            if let (Value::Stack(at), Register::None) =
                (address(state, instruction), instruction.segment_prefix())
            {
                state.store(at, 8, value);
            }
        }
        _ => match instruction.code() {
            Form::Mov_r64_imm64 | Form::Mov_rm64_imm32 | Form::Mov_r32_imm32 | Form::Mov_rm32_imm32
                if instruction.op0_kind() == OpKind::Register =>
            {
                set_target(state, instruction, Value::Constant(instruction.immediate(1)));
            }
            _ => forget(state, instruction, factory),
        },
    }
}

/// ADD and SUB.
fn sum(state: &mut State, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
    let is_wide = instruction.op0_kind() == OpKind::Register && instruction.op0_register().is_gpr64();
    let Some(register) = target(instruction).filter(|_| is_wide) else {
        return forget(state, instruction, factory);
    };
    let amount = match instruction.op1_kind() {
        OpKind::Register => match number(instruction.op1_register()).map(|one| state.get(one)) {
            Some(Value::Constant(number)) => Some(number as i64),
            _ => None,
        },
        OpKind::Memory => None,
        _ => Some(instruction.immediate(1) as i64),
    };
    let sign = if instruction.mnemonic() == Mnemonic::Sub { -1 } else { 1 };
    match amount.map(|amount| state.get(register).plus(amount.wrapping_mul(sign))) {
        // The stack pointer is as well known as before.
        Some(Value::Stack(offset)) if register == RSP => state.move_by(offset.wrapping_sub(state.offset())),
        Some(value) => state.set(register, value),
        None => state.set(register, Value::Unknown),
    }
}

/// AND: rounds an address in the stack down. True if it did.
fn align(
    state: &mut State,
    instruction: &Instruction,
    factory: &mut InstructionInfoFactory,
    cfa: u64,
) -> bool {
    let is_wide = instruction.op0_kind() == OpKind::Register && instruction.op0_register().is_gpr64();
    let is_number = !matches!(instruction.op1_kind(), OpKind::Register | OpKind::Memory);
    if let (true, Some(register)) = (is_wide && is_number, target(instruction)) {
        if let Value::Stack(offset) = state.get(register) {
            let mask = instruction.immediate(1);
            // Only the low bits of the CFA are true, so only they may be cleared.
            if !mask <= LOW {
                let address = cfa.wrapping_add_signed(offset);
                let down = address.wrapping_sub(address & mask) as i64;
                if register == RSP {
                    state.move_by(down.wrapping_neg());
                } else {
                    state.set(register, Value::Stack(offset.wrapping_sub(down)));
                }
                return true;
            }
        }
    }
    forget(state, instruction, factory);
    false
}

/// The bits of the CFA that matter.
pub(super) const LOW: u64 = 0xfff;

fn compared(instruction: &Instruction) -> Option<u8> {
    if instruction.op0_kind() != OpKind::Register || instruction.op1_kind() != OpKind::Register {
        return None;
    }
    match (instruction.op0_register(), instruction.op1_register()) {
        (Register::RSP, other) | (other, Register::RSP) if other.is_gpr64() => number(other),
        _ => None,
    }
}

fn same_registers(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::Register
        && instruction.op1_kind() == OpKind::Register
        && instruction.op0_register() == instruction.op1_register()
        && (instruction.op0_register().is_gpr32() || instruction.op0_register().is_gpr64())
}

/// Where a memory operand lies, or what LEA gives.
fn address(state: &State, instruction: &Instruction) -> Value {
    let displacement = instruction.memory_displacement64();
    match (instruction.memory_base(), instruction.memory_index()) {
        (Register::RIP, Register::None) => Value::Constant(displacement),
        (base, Register::None) if base.is_gpr64() => {
            number(base).map_or(Value::Unknown, |one| state.get(one)).plus(displacement as i64)
        }
        _ => Value::Unknown,
    }
}

/// Forgets all that an instruction may write.
fn forget(state: &mut State, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
    let info = factory.info(instruction);
    for used in info.used_memory() {
        let is_plain = used.index() == Register::None && used.segment() != Register::FS;
        if !writes(used.access()) || !is_plain || instruction.is_stack_instruction() {
            continue;
        }
        if let Some(Value::Stack(base)) = number(used.base()).map(|one| state.get(one)) {
            let at = base.wrapping_add(used.displacement() as i64);
            state.store(at, used.memory_size().size() as i64, Value::Unknown);
        }
    }
    for used in info.used_registers() {
        if let (true, Some(register)) = (writes(used.access()), number(used.register())) {
            if register != RSP {
                state.set(register, Value::Unknown);
            } else if !instruction.is_stack_instruction() {
                state.lose();
            }
        }
    }
    if instruction.is_stack_instruction() {
        let amount = i64::from(instruction.stack_pointer_increment());
        state.move_by(amount);
        if amount < 0 {
            state.store(state.offset(), amount.saturating_neg(), Value::Unknown);
        }
    }
}

fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

fn set_target(state: &mut State, instruction: &Instruction, value: Value) {
    if let Some(register) = target(instruction) {
        state.set(register, value);
    }
}

/// The general purpose register that is the first operand.
fn target(instruction: &Instruction) -> Option<u8> {
    (instruction.op0_kind() == OpKind::Register).then(|| number(instruction.op0_register())).flatten()
}

/// The number of the general purpose register that a register is or is part of.
fn number(register: Register) -> Option<u8> {
    let full = register.full_register();
    full.is_gpr64().then(|| u8::try_from(full.number()).ok()).flatten()
}
