//! Amounts as people write them: memory `64m`, `1g` (binary units), CPUs `0.5`.

use swarm_model::units::{Bytes, MilliCpu};

use super::duration::scaled;

/// Reads a size in bytes: a number with `b`, `k`, `m`, `g` or `t`; also `kb` and `KiB` spellings.
///
/// # Errors
/// Says what is wrong and how a size looks.
pub(crate) fn bytes(text: &str) -> Result<Bytes, String> {
    let hint = || format!("\"{text}\" is not a size: write it like 512k, 64m or 1.5g");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(hint()),
    };
    scaled(number, unit).map(Bytes).ok_or_else(hint)
}

/// Reads a number of CPUs with up to three decimals.
///
/// # Errors
/// Says what is wrong and how a number of CPUs looks.
pub(crate) fn cpus(text: &str) -> Result<MilliCpu, String> {
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    if decimals > 3 {
        return Err(format!("\"{text}\" is finer than a thousandth of a CPU"));
    }
    scaled(text, 1000)
        .map(MilliCpu)
        .ok_or_else(|| format!("\"{text}\" is not a number of CPUs: write it like 0.5 or 2"))
}

/// Writes CPUs without needless zeros.
pub(crate) fn cpus_text(cpus: MilliCpu) -> String {
    let text = cpus.to_string();
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_binary() {
        for (text, want) in [
            ("64m", 64 << 20),
            ("1g", 1 << 30),
            ("1.5g", 3 << 29),
            ("512", 512),
            ("512b", 512),
            ("2K", 2048),
            ("64MiB", 64 << 20),
            ("0", 0),
        ] {
            assert_eq!(bytes(text), Ok(Bytes(want)), "{text}");
        }
        for text in ["", "m", "-1m", "1x", "1..5g", "99999999t", "1 g"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpus_are_decimal() {
        for (text, want) in [("0.5", 500), ("2", 2000), ("1.25", 1250), (".001", 1), ("0", 0)] {
            assert_eq!(cpus(text), Ok(MilliCpu(want)), "{text}");
        }
        for text in ["", ".", "-1", "0.0001", "two", "1,5"] {
            assert!(cpus(text).is_err(), "{text}");
        }
        assert_eq!(cpus_text(MilliCpu(500)), "0.5");
        assert_eq!(cpus_text(MilliCpu(2000)), "2");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _either = (bytes(&text), cpus(&text));
        }
    }
}
