//! One step: from a context and the rules of its frame to the caller's context.

use super::context::{Context, Nat};
use super::evaluate::Frame;
use super::place::{Place, Saved};
use super::register::{Location, Special};
use super::rse::{add_to_bsp, locals};
use super::status::Failure;
use super::target::Target;

/// The caller's stack pointer, return pointer and frame marker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Markers {
    pub(super) psp: (u64, Location),
    pub(super) rp: (u64, Location),
    pub(super) pfs: (u64, Location),
}

/// Registers that are restored as they were saved, in this order.
const PLAIN: [(Saved, Special); 6] = [
    (Saved::PREDS, Special::Preds),
    (Saved::RNAT, Special::Rnat),
    (Saved::UNAT, Special::Unat),
    (Saved::FPSR, Special::Fpsr),
    (Saved::LC, Special::Lc),
    (Saved::BSPSTORE, Special::Bspstore),
];

/// The caller's context. `frame` has the caller's stack pointer.
pub(super) fn caller(
    frame: &Frame<'_>,
    markers: &Markers,
    floats: bool,
    target: &mut dyn Target,
) -> Result<Context, Failure> {
    let mut caller = frame.context.clone();
    general(frame, target, &mut caller)?;
    for ((number, value), location) in (0..).zip(&mut caller.branch).zip(&mut caller.history.branch) {
        let Some(saved) = Saved::branch(number) else { continue };
        if let Some((word, place)) = frame.saved(target, saved)? {
            (*value, *location) = (Some(word), place);
        }
    }
    for ((number, value), location) in (0..).zip(&mut caller.float).zip(&mut caller.history.float) {
        let Some(saved) = Saved::float(number) else { continue };
        if let Some((float, place)) = frame.saved_float(target, saved, floats)? {
            (*value, *location) = (float, place);
        }
    }
    for (saved, special) in PLAIN {
        if let Some((word, place)) = frame.saved(target, saved)? {
            caller.set(special, Some(word), place);
        }
    }
    let bsp = match frame.saved(target, Saved::BSP)? {
        Some((bsp, _)) => bsp,
        None => frame.context.basic(Special::Bsp)?,
    };
    caller.set(Special::Ip, Some(markers.rp.0), markers.rp.1);
    caller.set(Special::Sp, Some(markers.psp.0), markers.psp.1);
    caller.set(Special::Bsp, Some(add_to_bsp(bsp, -locals(markers.pfs.0))), Location::Nowhere);
    caller.set(Special::Cfm, Some(markers.pfs.0), markers.pfs.1);
    // These were the callee's own.
    for special in [Special::Rp, Special::Psp, Special::Pfs, Special::PriUnat, Special::Gp] {
        caller.set(special, None, Location::Nowhere);
    }
    Ok(caller)
}

fn general(frame: &Frame<'_>, target: &mut dyn Target, caller: &mut Context) -> Result<(), Failure> {
    let in_memory = |number| {
        let place = Saved::general(number).map(|saved| frame.rules.place(saved));
        matches!(place, Some(Place::AtPsp(_) | Place::AtSp(_)))
    };
    let unat = if (0..4).any(in_memory) { frame.primary_unat(target)?.0 } else { 0 };
    let registers = caller.general.iter_mut().zip(&mut caller.nat).zip(&mut caller.history.general);
    for (number, ((value, nat), location)) in (0..).zip(registers) {
        let Some(saved) = Saved::general(number) else { continue };
        if let Some((word, place)) = frame.saved(target, saved)? {
            let bit: Nat = frame.saved_nat(target, saved, place, unat)?;
            (*value, *nat, *location) = (Some(word), bit, place);
        }
    }
    Ok(())
}
