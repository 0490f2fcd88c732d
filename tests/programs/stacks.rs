//! Stacks of Rust: generic functions, closures, trait objects, formatting, panics that are caught.
use std::collections::HashMap;
use std::hint::black_box;

trait Shape {
    fn area(&self, scale: u64) -> u64;
}

struct Square(u64);
struct Wide(u64, u64);

impl Shape for Square {
    #[inline(never)]
    fn area(&self, scale: u64) -> u64 {
        self.0 * self.0 * scale
    }
}

impl Shape for Wide {
    #[inline(never)]
    fn area(&self, scale: u64) -> u64 {
        if scale % 11 == 5 {
            panic!("too wide: {scale}");
        }
        self.0 * self.1 + scale
    }
}

struct Counted<'c>(&'c mut u64);

impl Drop for Counted<'_> {
    #[inline(never)]
    fn drop(&mut self) {
        *self.0 += 1;
    }
}

#[inline(never)]
fn deep<F: Fn(u64) -> u64>(depth: u64, inner: &F) -> u64 {
    let mut count = 0;
    let _counted = Counted(&mut count);
    if depth == 0 {
        inner(depth)
    } else {
        black_box(deep(depth - 1, inner) + 1)
    }
}

#[inline(always)]
fn mixed(a: u64, b: u64) -> u64 {
    a.wrapping_mul(31) ^ b.rotate_left(7)
}

#[inline(never)]
fn sorted(seed: u64) -> u64 {
    let mut rows: Vec<u64> = (0..24).map(|row| mixed(seed, row) % 97).collect();
    rows.sort_by(|one, other| other.cmp(one));
    rows.iter().take(3).sum()
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let shapes: Vec<Box<dyn Shape>> = vec![Box::new(Square(3)), Box::new(Wide(2, 5))];
    let mut seen: HashMap<String, u64> = HashMap::new();
    for round in 0..100_000u64 {
        for shape in &shapes {
            let area = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                deep(round % 6, &|depth| shape.area(round + depth))
            }));
            let name = format!("{}-{:?}", round % 17, area.is_ok());
            *seen.entry(name).or_insert(0) += area.unwrap_or(0) + sorted(round);
        }
    }
    println!("{}", black_box(seen.len()));
}
