//! Splits a text into words as a shell does: blanks separate, quotes and backslashes hold together.

/// Splits `text`.
///
/// # Errors
/// When a quote is not closed or the text ends in a backslash.
pub(crate) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => {
                let open = word.get_or_insert_default();
                quoted(c, &mut chars, open).ok_or_else(|| format!("{c} is not closed: {text}"))?;
            }
            '\\' => {
                let next = chars.next().ok_or_else(|| format!("ends in a backslash: {text}"))?;
                word.get_or_insert_default().push(next);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads up to the closing `quote` into `word`; `None` when there is none.
fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            c if c == quote => return Some(()),
            '\\' if quote == '"' => match chars.next()? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_like_in_a_shell() {
        for (text, want) in [
            ("", vec![]),
            ("  a  b ", vec!["a", "b"]),
            ("-c 'echo  hi; sleep 1'", vec!["-c", "echo  hi; sleep 1"]),
            (r#"a"b c"d"#, vec!["ab cd"]),
            (r#""say \"hi\" \n""#, vec![r#"say "hi" \n"#]),
            (r"a\ b", vec!["a b"]),
            ("''", vec![""]),
        ] {
            assert_eq!(split(text).expect(text), want, "{text}");
        }
        assert!(split("'a").is_err());
        assert!(split("a\\").is_err());
    }
}
