//! Decoding while the bytes arrive.

use odograph_core::config::TraceConfig;
use odograph_core::history::{DecodeOptions, LiveError, LivePart, LiveTrace};
use odograph_core::image::Image;

use super::random::Random;

/// Feeds a trace in random pieces, none to all of it, flushing now and then; gives the parts, one behind the other.
pub fn fed(
    trace: &[u8],
    config: &TraceConfig,
    image: &Image,
    options: &DecodeOptions,
    random: &mut Random,
) -> Result<Vec<LivePart>, LiveError> {
    let mut live = LiveTrace::new(config, image.clone(), options.clone(), 1 << 30);
    let most = random.pick(&[1, 17, 300, 5000, trace.len() + 1]);
    let mut parts = Vec::new();
    let mut rest = trace;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(random.below(most + 1).min(rest.len()));
        rest = behind;
        parts.extend(live.feed(piece, |_| false)?);
        if most > 64 || random.once_in(40) {
            parts.extend(live.flush(|_| false)?);
        }
    }
    parts.extend(live.close(|_| false)?);
    assert_eq!((live.offset(), live.pending()), (trace.len() as u64, 0));
    assert_eq!(live.steps(), parts.iter().map(|part| part.stream.steps()).sum::<u64>());
    Ok(parts)
}
