//! Images over the time of a trace.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::image::{Image, ImageLog};

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

/// A thread runs from a time on, and these are the images of its memory meanwhile.
#[derive(Clone)]
pub struct Region {
    /// The first image holds from this TSC on, the others from where the log says.
    pub tsc: u64,
    /// Which thread runs.
    pub owner: u32,
    /// The images.
    pub log: Arc<ImageLog>,
    /// Which of them; at least one.
    pub images: Range<usize>,
}

/// The images of a trace, in order of time; at least one. A moment is where one begins to hold, or another thread to run.
#[derive(Clone)]
pub struct Timeline {
    regions: Arc<Vec<Placed>>,
}

#[derive(Clone)]
struct Placed {
    region: Region,
    /// Moments before it.
    before: usize,
    /// Its place in the list that was given.
    number: usize,
}

/// When a moment is, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    pub tsc: u64,
    pub owner: u32,
}

impl Timeline {
    /// One image for the whole trace.
    pub fn constant(image: Image) -> Self {
        Timeline::new(vec![Moment { tsc: 0, image, owner: 0 }])
    }

    /// Several, sorted by time here; an empty list means an empty image.
    pub fn new(mut moments: Vec<Moment>) -> Self {
        moments.sort_by_key(|moment| moment.tsc);
        if moments.is_empty() {
            moments.push(Moment { tsc: 0, image: Image::default(), owner: 0 });
        }
        let mut log = ImageLog::default();
        moments.iter().for_each(|moment| log.append(moment.tsc, &moment.image));
        let log = Arc::new(log);
        let mut regions: Vec<Region> = Vec::new();
        for (at, Moment { tsc, owner, .. }) in moments.into_iter().enumerate() {
            match regions.last_mut() {
                Some(last) if last.owner == owner => last.images.end = at + 1,
                _ => regions.push(Region { tsc, owner, log: log.clone(), images: at..at + 1 }),
            }
        }
        Timeline::of_regions(regions)
    }

    /// Threads that run one after the other; sorted by time here. Those without images are left out.
    pub fn of_regions(regions: Vec<Region>) -> Self {
        let numbered = regions.into_iter().enumerate();
        let mut placed: Vec<Placed> = numbered
            .map(|(number, mut region)| {
                region.images.end = region.images.end.min(region.log.len());
                Placed { region, before: 0, number }
            })
            .filter(|placed| !placed.region.images.is_empty())
            .collect();
        if placed.is_empty() {
            return Timeline::new(Vec::new());
        }
        placed.sort_by_key(|placed| placed.region.tsc);
        let mut before = 0;
        for place in &mut placed {
            place.before = before;
            before += place.region.images.len();
        }
        Timeline { regions: Arc::new(placed) }
    }

    /// The number of moments.
    pub fn len(&self) -> usize {
        self.regions.last().map_or(0, |last| last.before + last.region.images.len())
    }

    /// Never: there is at least one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The image in force at the start.
    pub fn first_image(&self) -> Image {
        self.image(0)
    }

    /// The files of all images are what they were when they were added.
    pub fn files_are_unchanged(&self) -> bool {
        let mut seen = HashSet::new();
        let mut looked_at = HashSet::new();
        self.regions.iter().all(|Placed { region, .. }| {
            let whole = 0..region.log.len();
            // What many threads share is looked at once.
            let is_new = looked_at.insert(Arc::as_ptr(&region.log));
            !is_new || region.log.files_are_unchanged(whole, &mut seen)
        })
    }

    /// Some image asks a callback for memory.
    pub fn has_callback(&self) -> bool {
        self.regions.iter().any(|placed| placed.region.log.has_callback())
    }

    /// For each moment its time, whose it is, and the first moment that has the same image.
    pub fn outline(&self) -> Vec<(u64, u32, usize)> {
        let mut first = HashMap::new();
        let moments = self.moments().enumerate();
        moments
            .map(|(at, (when, version))| (when.tsc, when.owner, *first.entry(version).or_insert(at)))
            .collect()
    }

    /// The time of each moment, whose it is, and the version of its image.
    fn moments(&self) -> impl Iterator<Item = (When, u64)> + '_ {
        self.regions.iter().flat_map(|Placed { region, .. }| {
            region.images.clone().map(move |at| {
                let tsc = if at == region.images.start { Some(region.tsc) } else { region.log.tsc(at) };
                let version = region.log.version(at).unwrap_or_default();
                (When { tsc: tsc.unwrap_or(u64::MAX), owner: region.owner }, version)
            })
        })
    }

    fn place(&self, at: usize) -> Option<(&Placed, usize)> {
        let found = self.regions.partition_point(|placed| placed.before <= at).checked_sub(1)?;
        let placed = self.regions.get(found)?;
        let image = placed.region.images.start + (at - placed.before);
        (image < placed.region.images.end).then_some((placed, image))
    }

    pub(super) fn get(&self, at: usize) -> Option<When> {
        let (Placed { region, .. }, image) = self.place(at)?;
        let tsc = if image == region.images.start { region.tsc } else { region.log.tsc(image)? };
        Some(When { tsc, owner: region.owner })
    }

    /// When a moment is, which of the regions that were given it belongs to, and which image of the log it has.
    pub fn moment(&self, at: usize) -> Option<(u64, usize, usize)> {
        let (placed, image) = self.place(at)?;
        Some((self.get(at)?.tsc, placed.number, image))
    }

    /// The last moment that is not behind `tsc`; the first one if all are.
    pub(super) fn at(&self, tsc: u64) -> usize {
        let found = self.regions.partition_point(|placed| placed.region.tsc <= tsc).saturating_sub(1);
        self.regions.get(found).map_or(0, |Placed { region, before, .. }| {
            let images = &region.images;
            let begun = tsc.checked_add(1).map_or(images.end, |behind| region.log.before(behind));
            before + begun.clamp(images.start + 1, images.end) - 1 - images.start
        })
    }

    /// The image of a moment; an empty one if there is no such moment.
    pub fn image(&self, at: usize) -> Image {
        let found = self.place(at).and_then(|(placed, image)| placed.region.log.get(image));
        found.unwrap_or_default()
    }

    /// The version of the image of a moment.
    pub(super) fn version(&self, at: usize) -> Option<u64> {
        self.place(at).and_then(|(placed, image)| placed.region.log.version(image))
    }

    /// The image of moment `to`, by that of moment `from`, which is given: quick if they are near.
    pub(super) fn image_after(&self, image: &Image, from: usize, to: usize) -> Image {
        match (self.place(from), self.place(to)) {
            (Some((one, before)), Some((two, behind))) if Arc::ptr_eq(&one.region.log, &two.region.log) => {
                two.region.log.after(image, before, behind).unwrap_or_default()
            }
            _ => self.image(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asid::Asid;

    /// Seeded moments of three threads.
    fn moments(seed: u64) -> Vec<Moment> {
        let mut state = seed;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let (mut image, mut tsc) = (Image::default(), 0);
        let count = 1 + next(200);
        let made = (0..count).map(|_| {
            image.add_bytes(vec![1], next(50), &Asid::default(), None).unwrap();
            let moment = Moment { tsc, image: image.clone(), owner: (next(30) / 10) as u32 };
            tsc += next(3);
            moment
        });
        made.collect()
    }

    #[test]
    fn moments_come_out_as_they_were_put_in() {
        for seed in 0..40 {
            let moments = moments(seed);
            let timeline = Timeline::new(moments.clone());
            assert_eq!(timeline.len(), moments.len());
            for (at, moment) in moments.iter().enumerate() {
                let when = When { tsc: moment.tsc, owner: moment.owner };
                let images = [timeline.image(at), timeline.image_after(&moments[0].image, 0, at)];
                assert_eq!(images.map(|image| image.version()), [moment.image.version(); 2]);
                assert_eq!(
                    (timeline.get(at), timeline.version(at)),
                    (Some(when), Some(moment.image.version()))
                );
                assert_eq!(timeline.outline()[at], (moment.tsc, moment.owner, at));
            }
            assert_eq!(timeline.get(moments.len()), None);
        }
    }

    #[test]
    fn the_last_moment_that_has_come_is_found() {
        for seed in 0..40 {
            let moments = moments(seed);
            let timeline = Timeline::new(moments.clone());
            for tsc in (0..moments[moments.len() - 1].tsc + 2).chain([u64::MAX]) {
                let expected = moments.iter().rposition(|moment| moment.tsc <= tsc).unwrap_or(0);
                assert_eq!(timeline.at(tsc), expected, "seed {seed}, TSC {tsc}");
            }
        }
    }
}
