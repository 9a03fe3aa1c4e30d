//! Byte strings as base36 of a fixed number of digits, as join tokens write them.

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Writes `bytes` (a big-endian number) in `width` digits; `width` must be enough for any value.
pub(crate) fn encode(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut text = vec![b'0'; width];
    for digit in text.iter_mut().rev() {
        let mut rest: u32 = 0;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 36).expect("the rest is below 36");
            rest = value % 36;
        }
        *digit = DIGITS[usize::try_from(rest).expect("a rest of 36 fits")];
    }
    String::from_utf8(text).expect("digits are ASCII")
}

/// Reads what [`encode`] wrote with the same `width`; `None` when `text` is anything else.
pub(crate) fn decode<const N: usize>(text: &str, width: usize) -> Option<[u8; N]> {
    if text.len() != width {
        return None;
    }
    let mut number = [0u8; N];
    for digit in text.bytes() {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'z' => digit - b'a' + 10,
            _ => return None,
        };
        let mut carry = u32::from(value);
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 36 + carry;
            *byte = u8::try_from(value % 256).expect("a rest of 256 fits");
            carry = value / 256;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digests_and_secrets_round_trip(digest: [u8; 32], secret: [u8; 16]) {
            prop_assert_eq!(decode(&encode(&digest, 50), 50), Some(digest));
            prop_assert_eq!(decode(&encode(&secret, 25), 25), Some(secret));
        }
    }

    #[test]
    fn the_extremes_fit_and_more_does_not() {
        assert_eq!(encode(&[0; 16], 25), "0".repeat(25));
        assert_eq!(decode(&encode(&[255; 32], 50), 50), Some([255u8; 32]));
        assert_eq!(decode::<16>(&"z".repeat(25), 25), None, "above 128 bits");
        assert_eq!(decode::<16>("abc", 25), None, "too short");
        assert_eq!(decode::<16>(&"A".repeat(25), 25), None, "not a digit");
    }
}
