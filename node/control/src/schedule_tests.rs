//! Due times against a model that looks at every minute, across changes of daylight saving.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::testing;

const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Casablanca",
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Antarctica/Troll",
];

fn spec(cron: &str, zone: &str) -> ScheduleSpec {
    ScheduleSpec {
        cron: cron.parse().expect(cron),
        time_zone: zone.to_owned(),
        overlap: Overlap::default(),
        catch_up: CatchUp::default(),
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect(text)
}

/// The first due times after a moment.
fn times(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let spec = spec(cron, zone);
    let schedule = Schedule::new(&spec).expect("is a zone");
    let mut from = at(after);
    (0..count)
        .map_while(|_| {
            from = schedule.next(from)?;
            Some(from.to_string().replace(":00.000Z", "Z"))
        })
        .collect()
}

#[test]
fn a_time_that_the_clock_leaves_out_is_due_when_it_jumps() {
    let spring = "2026-03-28T12:00:00Z";
    let daily = times("30 2 * * *", "Europe/Berlin", spring, 3);
    assert_eq!(daily, ["2026-03-29T01:00Z", "2026-03-30T00:30Z", "2026-03-31T00:30Z"]);
    let several = times("*/20 2 * * *", "Europe/Berlin", spring, 2);
    assert_eq!(several, ["2026-03-29T01:00Z", "2026-03-30T00:00Z"], "once, not three times");
    let hourly = times("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2);
    assert_eq!(hourly, ["2026-03-29T00:30Z", "2026-03-29T01:30Z"]);
    let even = times("0 */2 * * *", "Europe/Berlin", spring, 8);
    assert_eq!(even[5..], ["2026-03-28T23:00Z", "2026-03-29T01:00Z", "2026-03-29T02:00Z"]);
}

#[test]
fn a_time_that_comes_twice_is_due_once_unless_every_hour_is_meant() {
    let autumn = "2026-10-24T22:00:00Z";
    let daily = times("30 2 * * *", "Europe/Berlin", autumn, 2);
    assert_eq!(daily, ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
    let hourly = times("30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3);
    assert_eq!(hourly, ["2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T02:30Z"]);
    let all = times("30 0-23 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3);
    assert_eq!(all, hourly, "all hours, in other words");
    let even = times("30 */2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 2);
    assert_eq!(even, ["2026-10-25T00:30Z", "2026-10-25T03:30Z"]);
    // Also when it is asked for in the hour that comes twice.
    let again = times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1);
    assert_eq!(again, ["2026-10-26T01:30Z"]);
}

#[test]
fn leap_days_seconds_and_ends_of_months_are_found() {
    assert_eq!(times("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00Z"]);
    assert_eq!(times("0 12 31 * *", "UTC", "2026-01-31T12:00:00Z", 1), ["2026-03-31T12:00Z"]);
    let seconds = times("*/20 0 0 1 1 *", "UTC", "2026-06-01T00:00:00Z", 3);
    let expect = ["2027-01-01T00:00Z", "2027-01-01T00:00:20.000Z", "2027-01-01T00:00:40.000Z"];
    assert_eq!(seconds, expect);
    assert_eq!(times("0 0 31 2 *", "UTC", "2026-01-01T00:00:00Z", 1), [] as [&str; 0]);
    assert_eq!(times("0 0 31 2 *", "Europe/Berlin", "2026-01-01T00:00:00Z", 1), [] as [&str; 0]);
}

#[test]
fn a_zone_that_is_not_known_names_the_nearest_ones() {
    let nearest = |zone: &str| match Schedule::new(&spec("@daily", zone)) {
        Err(unknown) => unknown.nearest[0].clone(),
        Ok(_) => panic!("{zone} is one"),
    };
    assert_eq!(nearest("Europe/Berln"), "Europe/Berlin");
    assert_eq!(nearest("Berlin"), "Europe/Berlin");
    assert_eq!(nearest("new york"), "America/New_York");
    assert!(Schedule::new(&spec("@daily", "europe/berlin")).is_ok());
}

fn due(spec: &ScheduleSpec, cursor: &str, now: &str, busy: bool) -> Vec<String> {
    let state = ScheduleState { cursor: at(cursor) };
    let due = Schedule::new(spec).expect("is a zone").due(state, at(now), busy);
    assert_eq!(due.cursor, due.fire.last().copied());
    assert!(due.next.is_some_and(|next| next > at(now)));
    due.fire.iter().map(|time| time.to_string()[11..16].to_owned()).collect()
}

#[test]
fn what_was_missed_is_made_up_for_as_the_rule_says() {
    let mut spec = spec("0 * * * *", "UTC");
    let (cursor, now) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:30Z");
    assert_eq!(due(&spec, cursor, now, false), ["00:00"]);
    assert_eq!(due(&spec, cursor, "2026-01-01T20:10:00Z", false), ["20:00"], "however late");
    spec.catch_up = CatchUp::None;
    assert_eq!(due(&spec, cursor, now, false), ["00:00"], "half a minute is not late");
    assert_eq!(due(&spec, cursor, "2026-01-01T20:10:00Z", false), [] as [&str; 0]);
    spec.catch_up = CatchUp::All;
    assert_eq!(due(&spec, cursor, now, false), ["01:00"], "one after the other");
    assert_eq!(due(&spec, cursor, now, true), [] as [&str; 0], "the next one waits its turn");
    spec.overlap = Overlap::Replace;
    let past = "2026-01-02T00:10:00Z";
    assert_eq!(
        due(&spec, cursor, past, false),
        ["01:00"],
        "also where one takes the other's place"
    );
    assert_eq!(due(&spec, cursor, past, true), [] as [&str; 0]);
    assert_eq!(due(&spec, cursor, now, true).len(), 24, "which the one that is due now does");
    spec.overlap = Overlap::Allow;
    assert_eq!(due(&spec, cursor, now, true).len(), 24);
    let long = due(&spec, "2020-01-01T00:00:00Z", now, true);
    assert_eq!((long.len(), long.last().map(String::as_str)), (100, Some("00:00")));
}

#[test]
fn seconds_that_were_missed_for_years_are_not_counted_one_by_one() {
    let mut spec = spec("* * * * * *", "Europe/Berlin");
    let (cursor, now) = ("2000-01-01T00:00:00Z", "2026-01-02T00:00:30Z");
    assert_eq!(due(&spec, cursor, now, false).len(), 61, "those of the last minute are not missed");
    let moment = "2026-01-02T00:00:27Z";
    assert_eq!(due(&spec, moment, now, false).len(), 3, "as when the leader changes");
    spec.catch_up = CatchUp::All;
    spec.overlap = Overlap::Allow;
    assert_eq!(due(&spec, cursor, now, false).len(), 100);
}

#[test]
fn a_schedule_that_a_wrong_clock_advanced_goes_on_from_now() {
    let spec = spec("0 * * * *", "UTC");
    let schedule = Schedule::new(&spec).expect("is a zone");
    let now = at("2026-01-02T00:30:00Z");
    let ahead = |text| schedule.due(ScheduleState { cursor: at(text) }, now, false);
    assert_eq!(ahead("2026-01-09T00:00:00Z").cursor, Some(now));
    let little = ahead("2026-01-02T01:00:00Z");
    assert_eq!((little.cursor, little.next), (None, Some(at("2026-01-02T02:00:00Z"))));
}

/// Every minute from `from` to `to` at which the model is due.
fn naive(cron: &Cron, zone: &TimeZone, from: i64, to: i64) -> Vec<i64> {
    // Its own idea of all hours: each of them has some time.
    let has_hour = |hour| (0..60).any(|minute| cron.has_time(hour, minute, 0));
    let follows_clock = (0..24).all(has_hour);
    let shows = |minute: i64| {
        let instant = Moment::from_second(minute * 60).expect("in range");
        zone.to_datetime(instant)
    };
    let means = |time: DateTime| {
        let number = |signed: i8| u8::try_from(signed).expect("not negative");
        is_day(cron, time.date()) && cron.has_time(number(time.hour()), number(time.minute()), 0)
    };
    let (mut seen, mut due) = (BTreeSet::new(), Vec::new());
    let mut before = shows(from - 3000);
    for minute in from - 2999..=to {
        let now = shows(minute);
        let mut skipped = before + SignedDuration::from_mins(1);
        let mut hit = false;
        while skipped < now && !follows_clock {
            hit |= means(skipped);
            skipped += SignedDuration::from_mins(1);
        }
        let first = seen.insert(now);
        hit |= means(now) && (first || follows_clock);
        if hit && minute > from {
            due.push(minute);
        }
        before = now;
    }
    due
}

fn field(least: u8, most: u8) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        1 => Just(format!("{least}-{most}")),
        1 => (2u8..9).prop_map(|step| format!("*/{step}")),
        3 => (least..=most).prop_map(|number| number.to_string()),
        1 => (least..=most, 0u8..4).prop_map(move |(first, more)| {
            format!("{first}-{}", first.saturating_add(more).min(most))
        }),
    ]
}

proptest! {
    #![proptest_config(testing::times(4))]

    #[test]
    fn due_times_are_those_of_a_model_that_looks_at_every_minute(
        zone in select(ZONES.to_vec()),
        (year, nth, hours) in (1972i16..2100, 0usize..4, -30i64..2),
        (minute, hour) in (field(0, 59), prop_oneof![field(0, 4), field(0, 23)]),
        (day, weekday) in (field(1, 31), field(0, 6)),
    ) {
        let text = format!("{minute} {hour} {day} * {weekday}");
        let spec = spec(&text, zone);
        let schedule = Schedule::new(&spec).expect("is a zone");
        let begin = jiff::civil::date(year, 1, 1).to_zoned(TimeZone::UTC).expect("in range");
        // Around a change of the clock, if there is one.
        let change = schedule.zone.following(begin.timestamp()).nth(nth);
        let middle = change.map_or(begin.timestamp(), |change| change.timestamp()).as_second();
        let from = middle.div_euclid(60) + hours * 60;
        let to = from + 40 * 60;
        let mut found = Vec::new();
        let moment = |minute: i64| Timestamp::from_millis(u64::try_from(minute).expect("late") * 60_000);
        let mut after = moment(from);
        while let Some(next) = schedule.next(after).filter(|next| *next <= moment(to)) {
            prop_assert!(next > after);
            found.push(i64::try_from(next.as_millis()).expect("small") / 60_000);
            after = next;
        }
        prop_assert_eq!(found, naive(&spec.cron, &schedule.zone, from, to), "{} {}", text, zone);
    }
}
