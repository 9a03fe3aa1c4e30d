//! `--config NAME` and `--config source=NAME,target=FILE,uid=N,gid=N,mode=0444`.

/// A config that a service wants as a file; the name is not resolved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigMount {
    /// Name or id of the config.
    pub(crate) source: String,
    /// File name below the task's config directory.
    pub(crate) target: String,
    /// Owner.
    pub(crate) uid: Option<u32>,
    /// Group.
    pub(crate) gid: Option<u32>,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// Permission bits when none are given: everybody reads.
const DEFAULT_MODE: u32 = 0o444;

/// Reads the option's value.
///
/// # Errors
/// Says which part is wrong.
pub(crate) fn parse(text: &str) -> Result<ConfigMount, String> {
    let mut mount = ConfigMount {
        source: String::new(),
        target: String::new(),
        uid: None,
        gid: None,
        mode: DEFAULT_MODE,
    };
    if !text.contains('=') && !text.contains(',') {
        text.clone_into(&mut mount.source);
    } else {
        for part in text.split(',') {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("\"{part}\" in \"{text}\" is not KEY=VALUE"))?;
            let number = || value.parse().map_err(|_nan| format!("{key}={value}: not a number"));
            match key {
                "source" | "src" => value.clone_into(&mut mount.source),
                "target" => value.clone_into(&mut mount.target),
                "uid" => mount.uid = Some(number()?),
                "gid" => mount.gid = Some(number()?),
                "mode" => mount.mode = mode(value)?,
                _ => return Err(format!("\"{key}\" is none of source, target, uid, gid, mode")),
            }
        }
    }
    if mount.source.is_empty() {
        return Err(format!("\"{text}\" names no config: write NAME or source=NAME,target=FILE"));
    }
    if mount.target.is_empty() {
        mount.target.clone_from(&mount.source);
    }
    Ok(mount)
}

fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("mode={text}: not octal permission bits like 0440"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_forms_are_read() {
        let short = parse("app").expect("is valid");
        assert_eq!(
            (short.source.as_str(), short.target.as_str(), short.mode),
            ("app", "app", 0o444)
        );
        let long = parse("source=app,target=etc/app.conf,uid=1,gid=2,mode=0400").expect("is valid");
        assert_eq!(long.target, "etc/app.conf");
        assert_eq!((long.uid, long.gid, long.mode), (Some(1), Some(2), 0o400));
    }

    #[test]
    fn mistakes_are_named() {
        for text in
            ["", "target=x", "source=a,mode=9", "source=a,uid=x", "source=a,color=red", "a,b"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
