//! A tracker takes in what pieces have collected.

use super::*;

impl<L: Ledger> Stage<L> for Tracker<L> {
    fn begin(&mut self, timer: &Timer) {
        self.books.begin(timer.begin, self.top_note(), self.state.line.number);
    }

    fn absorb(&mut self, ledger: L) -> L::Translation {
        self.books.absorb(ledger, self.top_note(), self.state.line.number)
    }

    fn put_noted(&mut self, item: Item, note: L::Note, translation: &L::Translation) {
        let note = self.books.take_over(note, translation, item.is_open());
        self.apply(Op::Push(item, note));
    }

    fn settle_at(&mut self, op: Op<L::Note>, at: Spent) {
        if !matches!(op, Op::Arrive { .. } | Op::Leave(_)) {
            self.books.go(at);
        }
        self.apply(op);
    }

    fn end(&mut self, timer: &Timer, known: bool, met: Met) {
        self.met.add(met);
        self.books.end(timer, known);
    }

    fn knows_time(&self) -> bool {
        self.books.knows_time()
    }
}
