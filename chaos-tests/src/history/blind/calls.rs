//! Invocations and answers in the order of time, as a list from which operations are lifted out and
//! put back in constant time, and the set of operations that have taken effect.

use crate::history::Operation;

/// The list. Position 0 is its head, which is nothing.
#[derive(Debug)]
pub(super) struct Calls {
    moments: Vec<Moment>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Where each operation's invocation and answer stand.
    places: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Invocation(usize),
    Answer(usize),
    Edge,
}

impl Calls {
    /// The moments of these operations.
    pub(super) fn new(operations: &[&Operation]) -> Self {
        let begin = operations.iter().enumerate().map(|(at, operation)| {
            // In one microsecond, invocations are first: what touches is concurrent.
            (operation.invoked, Moment::Invocation(at))
        });
        let end = operations.iter().enumerate();
        let end = end.map(|(at, operation)| (operation.ended(), Moment::Answer(at)));
        let mut timed: Vec<(u64, Moment)> = begin.chain(end).collect();
        timed.sort_unstable();
        let edge = std::iter::once(Moment::Edge);
        let moments: Vec<Moment> =
            edge.clone().chain(timed.into_iter().map(|(_, moment)| moment)).chain(edge).collect();
        let mut places = vec![(0, 0); operations.len()];
        for (place, moment) in moments.iter().enumerate() {
            match *moment {
                Moment::Invocation(operation) => places[operation].0 = place,
                Moment::Answer(operation) => places[operation].1 = place,
                Moment::Edge => {}
            }
        }
        let last = moments.len() - 1;
        let next = (1..=last).chain([last]).collect();
        let previous = std::iter::once(0).chain(0..last).collect();
        Self { moments, next, previous, places }
    }

    /// The first moment that is left.
    pub(super) fn first(&self) -> usize {
        self.next[0]
    }

    /// The moment after `at`.
    pub(super) fn next(&self, at: usize) -> usize {
        self.next[at]
    }

    /// The operation that begins at `at`, if one does.
    pub(super) fn invoked(&self, at: usize) -> Option<usize> {
        match self.moments[at] {
            Moment::Invocation(operation) => Some(operation),
            Moment::Answer(_) | Moment::Edge => None,
        }
    }

    /// The operation that ends at `at`, if one does.
    pub(super) fn answered(&self, at: usize) -> Option<usize> {
        match self.moments[at] {
            Moment::Answer(operation) => Some(operation),
            Moment::Invocation(_) | Moment::Edge => None,
        }
    }

    /// The moment after the invocation of `operation`.
    pub(super) fn after_invocation(&self, operation: usize) -> usize {
        self.next[self.places[operation].0]
    }

    /// Takes an operation out.
    pub(super) fn lift(&mut self, operation: usize) {
        let (begin, end) = self.places[operation];
        self.unlink(begin);
        self.unlink(end);
    }

    /// Puts the operation back that was taken out last.
    pub(super) fn put_back(&mut self, operation: usize) {
        let (begin, end) = self.places[operation];
        self.link(end);
        self.link(begin);
    }

    fn unlink(&mut self, at: usize) {
        let (before, after) = (self.previous[at], self.next[at]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    fn link(&mut self, at: usize) {
        let (before, after) = (self.previous[at], self.next[at]);
        self.next[before] = at;
        self.previous[after] = at;
    }
}

/// Which operations have taken effect, a bit each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Done(Box<[u64]>);

impl Done {
    /// None of so many.
    pub(super) fn new(operations: usize) -> Self {
        Self(vec![0; operations.div_ceil(64)].into())
    }

    /// Notes that an operation has, or has not.
    pub(super) fn set(&mut self, operation: usize, done: bool) {
        let (word, bit) = (&mut self.0[operation / 64], 1_u64 << (operation % 64));
        if done { *word |= bit } else { *word &= !bit }
    }
}
