//! The graph: cost of a packet against the number of people online, both by powers.

use std::fmt::Write as _;

use super::compare::{Measured, Series};
use super::figures::{grouped, median};
use super::peers::Peer;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
/// Left, right, top and bottom edge of the plot.
const PLOT: (f64, f64, f64, f64) = (70.0, 560.0, 30.0, 390.0);
/// Sessions and ratios at its edges.
const SESSIONS: (f64, f64) = (100.0, 1_000_000.0);
const RATIOS: (f64, f64) = (1.0, 500.0);

/// As an SVG document, readable on white and on black.
pub fn svg(measured: &[Measured]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Cost of a 64-octet packet, to plain forwarding, against people online</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    axes(&mut out);
    let lines = [
        (Peer::OpenNds, true, "openNDS 10, up", "#b3261e", ""),
        (Peer::OpenNds, false, "openNDS 10, down", "#b3261e", "6 4"),
        (Peer::Kavadam, true, "Kavadam, up", "#0b57d0", ""),
        (Peer::Kavadam, false, "Kavadam, down", "#0b57d0", "6 4"),
    ];
    for (peer, is_up, name, colour, dashes) in lines {
        let of = |one: &Measured| if is_up { value(&one.up) } else { value(&one.down) };
        let points: Vec<(f64, f64)> = measured
            .iter()
            .filter(|one| one.peer == peer)
            .map(|one| (x(f64::from(one.sessions)), y(of(one))))
            .collect();
        line(&mut out, &points, name, colour, dashes);
    }
    if let Some(router) = measured.iter().find(|one| one.peer == Peer::Router) {
        let at = y(value(&router.up));
        line(
            &mut out,
            &[(PLOT.0, at), (PLOT.1, at)],
            "NAT router, up",
            "#5f6368",
            "2 3",
        );
    }
    out.push_str("</svg>\n");
    out
}

fn value(series: &Series) -> f64 {
    median(series.ratios.clone())
}

fn x(sessions: f64) -> f64 {
    PLOT.0 + (PLOT.1 - PLOT.0) * (sessions / SESSIONS.0).log10() / (SESSIONS.1 / SESSIONS.0).log10()
}

fn y(ratio: f64) -> f64 {
    let ratio = ratio.clamp(RATIOS.0, RATIOS.1);
    PLOT.3 - (PLOT.3 - PLOT.2) * (ratio / RATIOS.0).log10() / (RATIOS.1 / RATIOS.0).log10()
}

fn axes(out: &mut String) {
    let (left, right, top, bottom) = PLOT;
    // Writing to a String cannot fail.
    for sessions in [100, 1000, 10_000, 100_000, 1_000_000] {
        let at = x(f64::from(sessions));
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#dadce0\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            grouped(sessions.into())
        );
    }
    for ratio in [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0] {
        let at = y(ratio);
        let _ = writeln!(
            out,
            "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#dadce0\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ratio:.0} ×</text>",
            left - 6.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">people online</text>\
         <text x=\"{left}\" y=\"18\">cost of a packet, to plain forwarding</text>",
        f64::midpoint(left, right),
        HEIGHT - 12.0
    );
}

fn line(out: &mut String, points: &[(f64, f64)], name: &str, colour: &str, dashes: &str) {
    let Some((last_x, last_y)) = points.last() else { return };
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
        path.join(" ")
    );
    for (x, y) in points {
        let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
    // Two lines that end at one height would hide each other's names: one goes above, the other below.
    let beside = if dashes.is_empty() { -4.0 } else { 12.0 };
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
        last_x + 8.0,
        last_y + beside
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_its_line_and_name() {
        let series = |ratio| Series {
            nanos: vec![1000.0],
            ratios: vec![ratio],
            net_ratios: vec![ratio],
        };
        let one = |peer, sessions, ratio| Measured {
            peer,
            sessions,
            up: series(ratio),
            down: series(ratio),
        };
        let svg = svg(&[
            one(Peer::Plain, 4096, 1.0),
            one(Peer::Router, 4096, 1.2),
            one(Peer::OpenNds, 250, 6.0),
            one(Peer::Kavadam, 1000, 1.6),
            one(Peer::Kavadam, 100_000, 2.9),
        ]);
        assert_eq!(svg.matches("<polyline").count(), 5);
        for name in ["Kavadam, up", "Kavadam, down", "openNDS 10, up", "NAT router, up"] {
            assert!(svg.contains(name), "{name}");
        }
        assert!(y(2.0) < y(1.0) && x(100_000.0) > x(1000.0));
    }
}
