//! From the command line of a plan to the one that makes the change: the same words without `plan` and
//! its own options, and the revision.
//!
//! Works on words, so that whatever option is added to the other commands is passed on as it was given.

use swarm_model::meta::Revision;

/// Options that a plan has and the command does not, and whether a value follows.
const OWN: [(&str, bool); 2] = [("--format", true), ("--stale", false)];
/// Options of every command that a value follows.
const GLOBAL: [&str; 2] = ["--data-dir", "--host"];

/// The words of this process' command line.
pub(super) fn own_words() -> Vec<String> {
    std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}

/// The command that makes the change that `swarm` and `words` plan, as long as `revision` holds. A new
/// service is called `name`, in case chance chose that.
pub(super) fn command(words: &[String], revision: Revision, name: Option<&str>) -> String {
    let mut out = vec!["swarm".to_owned()];
    // `plan`, the noun, and the verb, behind which options can follow.
    let mut seen = 0;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            out.extend([word.clone()].into_iter().chain(words.cloned()));
            break;
        }
        let own = OWN.iter().find(|(own, _)| option(word) == *own);
        let global = GLOBAL.contains(&word.as_str());
        match own {
            Some((own, true)) if word == own => drop(words.next()),
            Some(_) => {}
            None if global || word == "--args" => {
                out.extend([word.clone()].into_iter().chain(words.next().cloned()));
            }
            None if word.starts_with('-') || seen == 3 => out.push(word.clone()),
            None => {
                seen += 1;
                out.extend((seen > 1).then(|| word.clone()));
                if seen == 3 {
                    out.extend(["--if-revision".to_owned(), revision.to_string()]);
                    let name = name.filter(|_| !has_name(words.as_slice()));
                    out.extend(name.into_iter().flat_map(|name| ["--name".into(), name.into()]));
                }
            }
        }
    }
    let quoted: Vec<_> = out.iter().map(|word| quote(word)).collect();
    quoted.join(" ")
}

/// The option that a word names, without its value.
fn option(word: &str) -> &str {
    word.split_once('=').map_or(word, |(option, _)| option)
}

fn has_name(words: &[String]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| option(word) == "--name")
}

/// A word as a shell has to be given it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[&str], name: Option<&str>, expect: &str) {
        let words: Vec<_> = line.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(command(&words, Revision(42), name), expect);
    }

    #[test]
    fn the_command_is_the_plan_s_with_the_revision() {
        check(
            &["plan", "service", "scale", "web=3"],
            None,
            "swarm service scale --if-revision 42 web=3",
        );
        check(
            &[
                "plan",
                "node",
                "update",
                "--format",
                "json",
                "--label-add",
                "a=b c",
                "--stale",
                "n1",
            ],
            None,
            "swarm node update --if-revision 42 --label-add 'a=b c' n1",
        );
    }

    #[test]
    fn global_options_are_passed_on_wherever_they_stand() {
        check(
            &[
                "--data-dir",
                "plan",
                "plan",
                "--host=unix:///s",
                "service",
                "rm",
                "plan",
                "--format=json",
            ],
            None,
            "swarm --data-dir plan --host=unix:///s service rm --if-revision 42 plan",
        );
    }

    #[test]
    fn what_belongs_to_the_program_stays() {
        check(
            &["plan", "service", "update", "--args", "--stale", "web"],
            None,
            "swarm service update --if-revision 42 --args --stale web",
        );
        check(
            &["plan", "service", "create", "--runtime", "process", "--", "x", "--format", "it's"],
            Some("x-123456"),
            r"swarm service create --if-revision 42 --name x-123456 --runtime process -- x --format 'it'\''s'",
        );
    }

    #[test]
    fn a_name_that_was_given_is_not_given_twice() {
        check(
            &["plan", "service", "create", "--name=web", "--runtime", "process", "--", "x"],
            Some("web"),
            "swarm service create --if-revision 42 --name=web --runtime process -- x",
        );
    }
}
