//! Numbers of the page: seconds, places on a time axis, the axis itself.
//!
//! Invariant: total. What is not finite or lies outside of its session is put at the nearest place that exists.

/// `5.005`.
pub fn seconds(s: f64) -> String {
    format!("{:.3}", finite(s))
}

/// `49 %`.
pub fn percent(part: f64, whole: f64) -> String {
    format!("{:.0} %", share(part, whole) * 100.0)
}

/// Of a whole, from 0 to 1.
pub fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { finite(part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

/// A length in SVG: `12.345%`.
pub fn length(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn finite(s: f64) -> f64 {
    if s.is_finite() { s } else { 0.0 }
}

/// A place on the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// `25%`.
    pub at: String,
    /// `5 s`.
    pub label: String,
}

/// At most so many steps.
const STEPS: f64 = 8.0;

/// Places at round times, the first at 0.
pub fn ticks(total_s: f64) -> Vec<Tick> {
    let total_s = finite(total_s).max(0.000_001);
    let step = step(total_s / STEPS);
    let count = (0..20_u32).take_while(|n| f64::from(*n) * step <= total_s * 0.98);
    count.map(|n| Tick { at: length(share(f64::from(n) * step, total_s)), label: label(f64::from(n) * step, step) }).collect()
}

/// The least of 1, 2 and 5, times a power of ten, that is not less.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * 0.999_999);
    factor.unwrap_or(10.0) * power
}

fn label(s: f64, step: f64) -> String {
    match step {
        1.0.. => format!("{s:.0} s"),
        0.1.. => format!("{s:.1} s"),
        0.001.. => format!("{:.0} ms", s * 1e3),
        _ => format!("{:.0} µs", s * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(total_s: f64) -> Vec<String> {
        ticks(total_s).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn an_axis_has_few_and_round_places() {
        assert_eq!(labels(45.039), ["0 s", "10 s", "20 s", "30 s", "40 s"]);
        assert_eq!(labels(5.022), ["0 s", "1 s", "2 s", "3 s", "4 s"]);
        assert_eq!(labels(3.2), ["0.0 s", "0.5 s", "1.0 s", "1.5 s", "2.0 s", "2.5 s", "3.0 s"]);
        assert_eq!(labels(0.007), ["0 ms", "1 ms", "2 ms", "3 ms", "4 ms", "5 ms", "6 ms"]);
        for strange in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300] {
            assert!(ticks(strange).len() <= 20, "{strange}");
        }
    }

    #[test]
    fn places_lie_inside() {
        assert_eq!(
            [length(share(1.0, 8.0)), length(share(2.0, 1.0)), length(share(f64::NAN, 1.0)), length(share(1.0, 0.0))],
            ["12.5%", "100%", "0%", "0%"]
        );
        assert_eq!(seconds(f64::NAN), "0.000");
        assert_eq!(percent(1.0, 3.0), "33 %");
    }
}
