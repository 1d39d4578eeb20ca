//! The codings that a client accepts.

/// An item of `Accept-Encoding`, such as `gzip;q=0.5`: the name and the weight, which is 1 where none is readable.
#[must_use]
pub fn weighted(item: &str) -> (&str, f32) {
    let (name, parameter) = item.split_once(';').unwrap_or((item, ""));
    let weight = parameter.split_once('=').filter(|(q, _)| q.trim().eq_ignore_ascii_case("q"));
    let weight = weight.and_then(|(_, weight)| weight.trim().parse().ok());
    (name.trim(), weight.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::weighted;

    #[test]
    fn a_name_and_its_weight_are_read() {
        for (item, read) in [
            ("gzip", ("gzip", 1.0)),
            (" br ; q=0.25", ("br", 0.25)),
            ("*;Q=0", ("*", 0.0)),
            ("identity; q = 0.000 ", ("identity", 0.0)),
            ("gzip;q=x", ("gzip", 1.0)),
            ("gzip;level=0", ("gzip", 1.0)),
            ("", ("", 1.0)),
        ] {
            assert_eq!(weighted(item), read, "{item}");
        }
    }
}
