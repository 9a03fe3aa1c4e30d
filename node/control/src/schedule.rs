//! When a job is due: cron expressions on the clocks of a time zone.
//!
//! Zones come with the program, so every leader knows the same. A clock is looked at from one change of its
//! offset to the next: in between, its times and the moments are the same thing, shifted.
//! Daylight saving is dealt with as in Vixie's cron: a time of day that is left out is due when the clock
//! jumps, one that comes twice is due once; an expression with all hours (`*`, `0-23`) follows the clock instead.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp as Moment};
use swarm_model::schedule::{CatchUp, Cron, DUE_MAX, Overlap, ScheduleSpec, ScheduleState};
use swarm_model::units::Timestamp;

/// A due time that is older when it is noticed was missed.
const LATE: Duration = Duration::from_secs(60);
/// A schedule that is further ahead of the time than this was advanced by a wrong clock.
const AHEAD_MAX: Duration = Duration::from_secs(3600);
/// The furthest time that is looked for: a leap day on one weekday comes every 28 years, or 40.
const YEARS_MAX: i16 = 41;

/// A schedule whose zone is known.
#[derive(Debug, Clone)]
pub struct Schedule<'a> {
    spec: &'a ScheduleSpec,
    zone: TimeZone,
}

/// There is no such time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownZone {
    /// Those whose names are most like it, the nearest first.
    pub nearest: Vec<String>,
}

/// What has to be decided now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Due {
    /// The times for which the job is due, in order.
    pub(crate) fire: Vec<Timestamp>,
    /// How far the schedule is then; `None` when nothing is to be decided.
    pub(crate) cursor: Option<Timestamp>,
    /// When to look again though nothing happens.
    pub(crate) next: Option<Timestamp>,
}

impl<'a> Schedule<'a> {
    /// The schedule that `spec` describes.
    ///
    /// # Errors
    /// When its zone is not known, with the nearest names.
    pub fn new(spec: &'a ScheduleSpec) -> Result<Self, UnknownZone> {
        match TimeZone::get(&spec.time_zone) {
            Ok(zone) => Ok(Self { spec, zone }),
            Err(_unknown) => Err(UnknownZone { nearest: nearest(&spec.time_zone) }),
        }
    }

    /// The first due time after `after`, if there is one within four decades.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let millis = i64::try_from(after.as_millis()).ok()?;
        // Due times are whole seconds.
        let begin = Moment::from_second(millis.div_euclid(1000).checked_add(1)?).ok()?;
        let last = begin.to_zoned(self.zone.clone()).date().year().saturating_add(YEARS_MAX);
        let mut from = begin;
        let mut before = self.zone.to_offset(begin - SignedDuration::from_secs(1));
        loop {
            let offset = self.zone.to_offset(from);
            let until = self.zone.following(from).next().map(|transition| transition.timestamp());
            if let Some(found) = self.within(before, offset, from, until) {
                let millis = u64::try_from(found.as_millisecond()).ok()?;
                return Some(Timestamp::from_millis(millis));
            }
            let until = until?;
            if offset.to_datetime(until).year() > last {
                return None;
            }
            (from, before) = (until, offset);
        }
    }

    /// The first due time from `from` to `until`, between which the clock has this offset; just before it had
    /// the offset `before`.
    fn within(
        &self,
        before: Offset,
        offset: Offset,
        from: Moment,
        until: Option<Moment>,
    ) -> Option<Moment> {
        let cron = &self.spec.cron;
        let (shown, now) = (before.to_datetime(from), offset.to_datetime(from));
        let end = until.map(|until| offset.to_datetime(until));
        let mut start = now;
        if !cron.follows_clock() {
            if shown < now && next_civil(cron, shown, Some(now)).is_some() {
                // The clock jumps over it.
                return Some(from);
            }
            // What the clock shows again was shown before.
            start = start.max(self.shown_until(from));
        }
        let found = next_civil(cron, start, end)?;
        offset.to_timestamp(found).ok()
    }

    /// What the clock would have shown at its last change up to `at`: earlier times come a second time.
    fn shown_until(&self, at: Moment) -> DateTime {
        let next = at + SignedDuration::from_secs(1);
        let Some(change) = self.zone.preceding(next).next() else { return DateTime::MIN };
        let change = change.timestamp();
        self.zone.to_offset(change - SignedDuration::from_secs(1)).to_datetime(change)
    }

    /// What has to be decided at `now`. `busy` says whether a run goes on.
    pub(crate) fn due(&self, state: ScheduleState, now: Timestamp, busy: bool) -> Due {
        let cursor = state.cursor;
        if cursor.since(now) > AHEAD_MAX {
            return Due { cursor: Some(now), ..Due::default() };
        }
        // Mostly nothing is due: one look tells.
        let first = self.next(cursor);
        if first.is_none_or(|due| due > now) {
            return Due { next: first, ..Due::default() };
        }
        let next = self.next(cursor.max(now));
        let mut fire = self.missed(cursor, now);
        let late = |due: &Timestamp| now.since(*due) > LATE;
        let missed = fire.iter().filter(|due| late(due)).count();
        match self.spec.catch_up {
            CatchUp::None => drop(fire.drain(..missed)),
            CatchUp::Last => drop(fire.drain(..missed.min(fire.len().saturating_sub(1)))),
            CatchUp::All if missed > 0 => self.in_turn(&mut fire, missed, busy),
            CatchUp::All => {}
        }
        // Not up to `now`: a clock that is ahead would take away what is due until then.
        let cursor = fire.last().copied();
        Due { fire, cursor, next }
    }

    /// Leaves of `fire` what may run now, of which so many were missed: these run one after the other, unless
    /// runs may overlap.
    fn in_turn(&self, fire: &mut Vec<Timestamp>, missed: usize, busy: bool) {
        match self.spec.overlap {
            Overlap::Allow => {}
            // What is due now takes the place of all that came before, whether it had its turn or not.
            Overlap::Replace if busy && missed < fire.len() => {}
            // What was missed is not to be left out now.
            Overlap::Skip | Overlap::Replace if busy => fire.clear(),
            Overlap::Skip | Overlap::Replace => fire.truncate(1),
        }
    }

    /// The newest due times after `cursor`, up to `now`: as many as can matter.
    fn missed(&self, cursor: Timestamp, now: Timestamp) -> Vec<Timestamp> {
        let mut span = LATE.saturating_add(Duration::from_secs(1));
        loop {
            // Backwards in growing steps: a schedule of seconds may have been missed for years.
            let from = Timestamp::from_millis(now.as_millis().saturating_sub(span_millis(span)));
            let begin = from.max(cursor);
            let mut times: Vec<Timestamp> = Vec::new();
            let mut at = begin;
            while let Some(due) = self.next(at).filter(|due| *due <= now) {
                times.push(due);
                at = due;
            }
            let most = match self.spec.catch_up {
                CatchUp::None => 0,
                CatchUp::Last => 1,
                CatchUp::All => DUE_MAX,
            };
            if begin == cursor || times.len() >= most {
                drop(times.drain(..times.len().saturating_sub(DUE_MAX)));
                return times;
            }
            span = span.saturating_mul(2);
        }
    }
}

fn span_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The first time that `cron` means, from `from` on and before `until`.
fn next_civil(cron: &Cron, from: DateTime, until: Option<DateTime>) -> Option<DateTime> {
    let last = from.date().year().saturating_add(YEARS_MAX);
    let mut date = from.date();
    let mut time = from.time();
    debug_assert_eq!(from.subsec_nanosecond(), 0, "clocks change at whole seconds");
    loop {
        if until.is_some_and(|until| date > until.date()) || date.year() > last {
            return None;
        }
        if is_day(cron, date)
            && let Some(found) = next_time(cron, time)
        {
            let found = date.to_datetime(found);
            return Some(found).filter(|found| until.is_none_or(|until| *found < until));
        }
        date = date.tomorrow().ok()?;
        time = Time::midnight();
    }
}

fn is_day(cron: &Cron, date: Date) -> bool {
    let number = |signed: i8| u8::try_from(signed).unwrap_or_default();
    let weekday = date.weekday().to_sunday_zero_offset();
    cron.has_day(number(date.month()), number(date.day()), number(weekday))
}

fn next_time(cron: &Cron, from: Time) -> Option<Time> {
    let number = |signed: i8| u8::try_from(signed).unwrap_or_default();
    let (hour, minute, second) =
        cron.next_time(number(from.hour()), number(from.minute()), number(from.second()))?;
    let part = |number: u8| i8::try_from(number).ok();
    Time::new(part(hour)?, part(minute)?, part(second)?, 0).ok()
}

/// The names of zones that are most like `given`, the nearest first.
fn nearest(given: &str) -> Vec<String> {
    let given = given.to_lowercase().replace(' ', "_");
    let mut names: Vec<(usize, String)> = jiff::tz::db()
        .available()
        .map(|name| {
            let lower = name.to_string().to_lowercase();
            let city = lower.rsplit('/').next().unwrap_or_default();
            // A city alone is what people know.
            let away = distance(&given, &lower).min(distance(&given, city));
            (away, name.to_string())
        })
        .collect();
    names.sort();
    names.into_iter().take(3).map(|(_, name)| name).collect()
}

/// How many letters have to change (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, one) in left.chars().take(64).enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (place, other) in right.iter().enumerate() {
            let kept = corner + usize::from(one != *other);
            corner = row[place + 1];
            row[place + 1] = kept.min(corner + 1).min(row[place] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
