//! Users and groups by name or number, from the texts of `/etc/passwd` and `/etc/group`.
//!
//! Pure. Directory services (LDAP, …) are not asked: there a number has to be given.

use super::record::Account;
use crate::runtime::Failure;

/// One line of `/etc/passwd`.
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// An account and the home directory of its user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) account: Account,
    pub(super) home: Option<String>,
}

/// Looks up `user` (`user`, `uid`, `user:group`, `uid:gid`) and the supplementary `groups`. A uid
/// without an entry is fine; its group is then 0's namesake, the uid as gid.
pub(super) fn look_up(
    user: &str,
    groups: &[String],
    passwd: &str,
    group: &str,
) -> Result<Found, Failure> {
    let (name, own_group) = match user.split_once(':') {
        Some((name, own_group)) => (name, Some(own_group)),
        None => (user, None),
    };
    let entry = users(passwd)
        .find(|entry| entry.name == name || name.parse::<u32>().is_ok_and(|uid| entry.uid == uid));
    let uid = match (&entry, name.parse()) {
        (Some(entry), _) => entry.uid,
        (None, Ok(uid)) => uid,
        (None, Err(_)) => return Err(unknown("user", name)),
    };
    let gid = match (own_group, &entry) {
        (Some(own_group), _) => group_id(own_group, group)?,
        (None, Some(entry)) => entry.gid,
        (None, None) => uid,
    };
    let mut all: Vec<u32> = match &entry {
        Some(entry) => memberships(entry.name, group).collect(),
        None => Vec::new(),
    };
    for wanted in groups {
        all.push(group_id(wanted, group)?);
    }
    all.push(gid);
    all.sort_unstable();
    all.dedup();
    let home = entry.map(|entry| entry.home.to_owned());
    Ok(Found { account: Account { uid, gid, groups: all }, home })
}

/// What a user is called; the number when it has no name.
pub(super) fn name_of(uid: u32, passwd: &str) -> String {
    let named = users(passwd).find(|entry| entry.uid == uid);
    named.map_or_else(|| uid.to_string(), |entry| entry.name.to_owned())
}

fn unknown(kind: &'static str, name: &str) -> Failure {
    Failure::NoSuchUser { kind, name: name.to_owned() }
}

fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _password, uid, gid, _about, home, ..] = fields[..] else { return None };
        Some(User { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

/// Name, id and members of every group.
fn all_groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _password, gid, members] = fields[..] else { return None };
        Some((name, gid.parse().ok()?, members))
    })
}

fn group_id(wanted: &str, group: &str) -> Result<u32, Failure> {
    all_groups(group)
        .find(|(name, _, _)| *name == wanted)
        .map(|(_, gid, _)| gid)
        .or_else(|| wanted.parse().ok())
        .ok_or_else(|| unknown("group", wanted))
}

fn memberships<'a>(user: &'a str, group: &'a str) -> impl Iterator<Item = u32> + 'a {
    all_groups(group)
        .filter(move |(_, _, members)| members.split(',').any(|member| member == user))
        .map(|(_, gid, _)| gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34::/srv/web:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nvideo:x:44:web,cam\naudio:x:29:cam\n";

    fn check(user: &str, groups: &[&str], expect: Result<(u32, u32, &[u32]), &str>) {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let found = look_up(user, &groups, PASSWD, GROUP);
        let found = found.map(|found| (found.account.uid, found.account.gid, found.account.groups));
        let found = found.map_err(|failure| failure.to_line());
        match expect {
            Ok((uid, gid, all)) => assert_eq!(found, Ok((uid, gid, all.to_vec())), "{user}"),
            Err(text) => {
                assert!(found.as_ref().is_err_and(|line| line.contains(text)), "{found:?}")
            }
        }
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        check("web", &[], Ok((33, 34, &[34, 44])));
        check("33", &["audio"], Ok((33, 34, &[29, 34, 44])));
        check("web:video", &[], Ok((33, 44, &[44])));
        check("1000", &[], Ok((1000, 1000, &[1000])));
        check("1000:7", &["99"], Ok((1000, 7, &[7, 99])));
    }

    #[test]
    fn unknown_names_are_refused_by_name() {
        check("nobody-here", &[], Err("no user nobody-here"));
        check("web:nogroup-here", &[], Err("no group nogroup-here"));
        check("web", &["-1"], Err("no group -1"));
        check("", &[], Err("no user"));
        assert_eq!((&*name_of(33, PASSWD), &*name_of(7, PASSWD)), ("web", "7"));
    }
}
