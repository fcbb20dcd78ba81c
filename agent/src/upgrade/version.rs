//! Which of two versions is the newer one.

use std::cmp::Ordering;

/// Compares versions by the rules of Semantic Versioning; `None` if one of them is none.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let ((one, before), (other, before_other)) = (parts(one)?, parts(other)?);
    Some(one.cmp(&other).then_with(|| match (before, before_other) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(other)) => pre_release(one, other),
    }))
}

/// The numbers of a version, and what stands behind its `-`. The build, behind `+`, does not count.
fn parts(version: &str) -> Option<([u64; 3], Option<&str>)> {
    let version = version.split('+').next()?;
    let (numbers, before) = match version.split_once('-') {
        Some((numbers, before)) => (numbers, Some(before)),
        None => (version, None),
    };
    let mut numbers = numbers.split('.').map(|number| number.parse::<u64>().ok());
    let parts = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some((parts, before))
}

fn pre_release(one: &str, other: &str) -> Ordering {
    let identifier = |text: &str| match text.parse::<u64>() {
        Ok(number) => (0, number, String::new()),
        Err(_) => (1, 0, text.to_owned()),
    };
    one.split('.').map(identifier).cmp(other.split('.').map(identifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered() {
        let ordered = [
            "0.1.0-alpha",
            "0.1.0-alpha.1",
            "0.1.0-rc.2",
            "0.1.0-rc.10",
            "0.1.0",
            "0.1.1",
            "0.2.0",
            "0.10.0",
            "1.0.0",
        ];
        for (number, one) in ordered.iter().enumerate() {
            for (other_number, other) in ordered.iter().enumerate() {
                assert_eq!(compare(one, other), Some(number.cmp(&other_number)), "{one} {other}");
            }
        }
        assert_eq!(compare("1.0.0+a", "1.0.0+b"), Some(Ordering::Equal));
        for bad in ["", "1", "1.2", "1.2.3.4", "1.2.x", "v1.2.3"] {
            assert_eq!(compare(bad, "1.0.0"), None, "{bad}");
        }
    }
}
