//! Places for things that come and go by the thousand: found by a number, and never mistaken for what was there before.
//!
//! Places lie in chunks. A chunk that has emptied gives its memory back, but for one that is kept for the next to come.
//! Must not know what is held.

/// Places of a chunk: one bit each in a word.
const CHUNK_PLACES: usize = 64;

/// Where something is held, and which of all that were held there it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) index: u32,
    /// Of the bits that the slab was made for.
    pub(super) generation: u32,
}

#[derive(Debug)]
struct Held<T> {
    generation: u32,
    thing: Option<T>,
}

#[derive(Debug)]
struct Chunk<T> {
    /// A bit for each place that holds nothing.
    vacant: u64,
    /// Empty where the memory was given back.
    places: Vec<Held<T>>,
}

/// Things by their places.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks with a vacant place; the last is filled first.
    roomy: Vec<u32>,
    held: usize,
    /// Counts all that was ever held, so that no place is given twice until it has gone round.
    generation: u32,
    generations: u32,
    /// The chunk that holds nothing and has kept its memory.
    spare: Option<u32>,
}

impl<T> Slab<T> {
    /// Tells so many generations apart, less one: a number of bits that are all set.
    pub(super) fn new(generations: u32) -> Self {
        assert!((generations & generations.wrapping_add(1)) == 0, "a mask: {generations:x}");
        Self { chunks: Vec::new(), roomy: Vec::new(), held: 0, generation: 0, generations, spare: None }
    }

    /// How many things are held.
    pub(super) fn len(&self) -> usize {
        self.held
    }

    #[inline]
    pub(super) fn insert(&mut self, thing: T) -> Place {
        let number = match self.roomy.last() {
            Some(number) => *number,
            None => self.add_chunk(),
        };
        let chunk = &mut self.chunks[number as usize];
        if chunk.places.is_empty() {
            chunk.places.resize_with(CHUNK_PLACES, || Held { generation: 0, thing: None });
        }
        if self.spare == Some(number) {
            self.spare = None;
        }
        let at = chunk.vacant.trailing_zeros();
        chunk.vacant &= chunk.vacant - 1;
        if chunk.vacant == 0 {
            self.roomy.pop();
        }
        self.generation = self.generation.wrapping_add(1) & self.generations;
        self.held += 1;
        chunk.places[at as usize] = Held { generation: self.generation, thing: Some(thing) };
        Place { index: number * CHUNK_PLACES as u32 + at, generation: self.generation }
    }

    fn add_chunk(&mut self) -> u32 {
        let number = u32::try_from(self.chunks.len()).expect("fewer chunks than numbers");
        assert!(number <= u32::MAX / CHUNK_PLACES as u32, "fewer places than numbers");
        self.chunks.push(Chunk { vacant: u64::MAX, places: Vec::new() });
        self.roomy.push(number);
        number
    }

    #[inline]
    pub(super) fn get(&self, place: Place) -> Option<&T> {
        let held =
            self.chunks.get(place.index as usize / CHUNK_PLACES)?.places.get(place.index as usize % CHUNK_PLACES)?;
        if held.generation == place.generation { held.thing.as_ref() } else { None }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.named(place)?.as_mut()
    }

    #[inline]
    pub(super) fn remove(&mut self, place: Place) -> Option<T> {
        let thing = self.named(place)?.take();
        self.vacate(place);
        thing
    }

    /// Drops what is held where it lies: what is large need not be moved for that. False if it is gone.
    pub(super) fn discard(&mut self, place: Place) -> bool {
        let Some(thing) = self.named(place) else { return false };
        *thing = None;
        self.vacate(place);
        true
    }

    /// What is held, if it is held still.
    fn named(&mut self, place: Place) -> Option<&mut Option<T>> {
        let chunk = self.chunks.get_mut(place.index as usize / CHUNK_PLACES)?;
        let held = chunk.places.get_mut(place.index as usize % CHUNK_PLACES)?;
        (held.generation == place.generation && held.thing.is_some()).then_some(&mut held.thing)
    }

    fn vacate(&mut self, place: Place) {
        let number = place.index / CHUNK_PLACES as u32;
        let (chunk, at) = (&mut self.chunks[number as usize], place.index as usize % CHUNK_PLACES);
        if chunk.vacant == 0 {
            self.roomy.push(number);
        }
        chunk.vacant |= 1 << at;
        self.held -= 1;
        // The one that emptied last is most likely filled next.
        if chunk.vacant == u64::MAX
            && let Some(former) = self.spare.replace(number)
        {
            self.chunks[former as usize].places = Vec::new();
        }
    }

    /// Takes out all that are wanted, in the order of their places.
    pub(super) fn remove_where(&mut self, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let mut places = Vec::new();
        for (number, chunk) in self.chunks.iter().enumerate() {
            for (at, held) in chunk.places.iter().enumerate() {
                if held.thing.as_ref().is_some_and(&wanted) {
                    let index = (number * CHUNK_PLACES + at) as u32;
                    places.push(Place { index, generation: held.generation });
                }
            }
        }
        places.into_iter().filter_map(|place| self.remove(place)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl<T> Slab<T> {
        fn chunks_with_memory(&self) -> usize {
            self.chunks.iter().filter(|chunk| !chunk.places.is_empty()).count()
        }
    }

    #[test]
    fn what_was_in_a_place_before_is_not_found_there_any_more() {
        let mut slab = Slab::new(u32::MAX);
        let first = slab.insert("first");
        assert_eq!((slab.remove(first), slab.remove(first), slab.get(first)), (Some("first"), None, None));
        let second = slab.insert("second");
        assert_eq!(second.index, first.index, "places are used again");
        assert!(slab.get(first).is_none() && slab.get_mut(first).is_none() && slab.remove(first).is_none());
        assert_eq!(slab.get(second), Some(&"second"));
        assert!(!slab.discard(first) && slab.discard(second) && !slab.discard(second));
        assert_eq!((slab.len(), slab.get(second)), (0, None));
        assert_eq!(slab.insert("third").index, first.index, "places of what was dropped are, too");
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back() {
        let mut slab = Slab::new(0xff);
        let places: Vec<Place> = (0..100 * CHUNK_PLACES).map(|number| slab.insert(number)).collect();
        assert_eq!((slab.len(), slab.chunks_with_memory()), (100 * CHUNK_PLACES, 100));
        let last = places.len() - 1;
        for place in &places[..last] {
            assert!(slab.remove(*place).is_some());
        }
        assert_eq!((slab.len(), slab.chunks_with_memory()), (1, 2), "one in use, one spare");
        assert_eq!(slab.get(places[last]), Some(&last));
        for number in 0..1000 {
            let place = slab.insert(number);
            assert_eq!((slab.chunks_with_memory(), slab.remove(place)), (2, Some(number)));
        }
    }

    proptest! {
        #[test]
        fn it_answers_as_a_map_does(steps in proptest::collection::vec((0..3_u8, any::<u16>()), 0..600)) {
            let mut slab = Slab::new(u32::MAX);
            let (mut model, mut ever) = (BTreeMap::new(), Vec::new());
            for (step, number) in steps {
                match step {
                    0 | 1 => {
                        let place = slab.insert(number);
                        prop_assert!(model.insert((place.index, place.generation), number).is_none());
                        ever.push(place);
                    }
                    _ if ever.is_empty() => {}
                    _ => {
                        let place: Place = ever[usize::from(number) % ever.len()];
                        prop_assert_eq!(slab.remove(place), model.remove(&(place.index, place.generation)));
                    }
                }
                prop_assert_eq!(slab.len(), model.len());
            }
            for place in &ever {
                prop_assert_eq!(slab.get(*place), model.get(&(place.index, place.generation)));
            }
            let (even, count) = (slab.remove_where(|number| number % 2 == 0), model.len());
            prop_assert!(even.iter().all(|number| number % 2 == 0));
            prop_assert_eq!(slab.len(), count - even.len());
            prop_assert!(slab.remove_where(|number| number % 2 == 0).is_empty());
        }
    }
}
