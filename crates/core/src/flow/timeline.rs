//! Images over the time of a trace.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::image::Image;

/// An image and the time from which it holds.
#[derive(Clone)]
pub struct Moment {
    /// The image holds from this TSC on; 0 for the first.
    pub tsc: u64,
    /// Memory of the traced program from then on.
    pub image: Image,
    /// Which thread runs from then on. A change of threads takes place in the kernel or where nothing is traced.
    pub owner: u32,
}

/// The images of a trace, in order of time; at least one.
#[derive(Clone)]
pub struct Timeline {
    moments: Arc<Vec<Moment>>,
}

impl Timeline {
    /// One image for the whole trace.
    pub fn constant(image: Image) -> Self {
        Timeline { moments: Arc::new(vec![Moment { tsc: 0, image, owner: 0 }]) }
    }

    /// Several, sorted by time here; an empty list means an empty image.
    pub fn new(mut moments: Vec<Moment>) -> Self {
        moments.sort_by_key(|moment| moment.tsc);
        if moments.is_empty() {
            moments.push(Moment { tsc: 0, image: Image::default(), owner: 0 });
        }
        Timeline { moments: Arc::new(moments) }
    }

    /// The image in force at the start.
    pub fn first_image(&self) -> Image {
        self.moments.first().map(|moment| moment.image.clone()).unwrap_or_default()
    }

    /// The files of all images are what they were when they were added.
    pub fn files_are_unchanged(&self) -> bool {
        let mut seen = HashSet::new();
        self.moments.iter().all(|moment| moment.image.files_are_unchanged(&mut seen))
    }

    /// Some image asks a callback for memory.
    pub fn has_callback(&self) -> bool {
        self.moments.iter().any(|moment| moment.image.callback().is_some())
    }

    /// For each moment its time, whose it is, and the first moment that has the same image.
    pub fn outline(&self) -> Vec<(u64, u32, usize)> {
        let mut first = HashMap::new();
        let moments = self.moments.iter().enumerate();
        moments
            .map(|(at, moment)| {
                let same = *first.entry(moment.image.version()).or_insert(at);
                (moment.tsc, moment.owner, same)
            })
            .collect()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Moment> {
        self.moments.get(at)
    }
}
