//! A trace as a picture: what arrives, what waits, and the replicas of each policy.
//!
//! The picture has no background, and its stylesheet swaps the colours where dark is preferred, so
//! that it can be read on both.

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use tidemill_autoscaler::simulator::{Point, Replay, Trace};

const SIZE: (u32, u32) = (960, 660);
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const FAINT: RGBColor = RGBColor(0xd8, 0xde, 0xe4);
/// One for each policy that is drawn, told apart with any kind of colour vision.
const POLICIES: [RGBColor; 3] = [RGBColor(0x00, 0x5f, 0xb8), RGBColor(0xc2, 0x54, 0x00), RGBColor(0x6f, 0x77, 0x80)];
/// What a colour becomes where dark is preferred.
const DARK: [(&str, &str); 5] = [
    ("#24292F", "#e6edf3"),
    ("#D8DEE4", "#3d444d"),
    ("#005FB8", "#58a6ff"),
    ("#C25400", "#ff9a4d"),
    ("#6F7780", "#a8b1bb"),
];

/// The picture of a trace.
pub fn svg(trace: &Trace, replays: &[Replay]) -> Result<String> {
    let mut text = String::new();
    draw(&mut text, trace, replays).map_err(|error| anyhow!("failed to draw {}: {error}", trace.name))?;
    Ok(text.replacen(">\n", &format!(">\n{}\n", style()), 1))
}

fn style() -> String {
    let rules: String = DARK
        .iter()
        .map(|(light, dark)| format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}"))
        .collect();
    format!("<style>@media (prefers-color-scheme:dark){{{rules}}}</style>")
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A line through (minute, value).
struct Line {
    points: Vec<(f64, f64)>,
    colour: RGBColor,
}

/// One diagram of the picture.
struct Panel {
    title: &'static str,
    most: f64,
    label: fn(&f64) -> String,
    lines: Vec<Line>,
}

fn draw(text: &mut String, trace: &Trace, replays: &[Replay]) -> Drawn {
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    let (head, body) = area.split_vertically(46);
    heading(&head, trace, replays)?;
    let (above, replicas_area) = body.split_vertically(400);
    let (arriving_area, lag_area) = above.split_vertically(160);
    let minutes = trace.length.as_secs_f64() / 60.0;
    arriving(replays).draw(&arriving_area, minutes)?;
    lag(replays).draw(&lag_area, minutes)?;
    replicas(replays).draw(&replicas_area, minutes)?;
    area.present()
}

fn heading(area: &Area, trace: &Trace, replays: &[Replay]) -> Drawn {
    area.draw(&Text::new(format!("{}: {}", trace.name, trace.about), (12, 8), font(17, INK)))?;
    let mut left = 12;
    for (replay, colour) in replays.iter().zip(POLICIES) {
        area.draw(&PathElement::new([(left, 38), (left + 26, 38)], colour.stroke_width(4)))?;
        area.draw(&Text::new(replay.policy, (left + 32, 31), font(14, colour)))?;
        left += 130;
    }
    Ok(())
}

fn font(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(HPos::Left, VPos::Top))
}

fn arriving(replays: &[Replay]) -> Panel {
    let points: Vec<_> =
        replays.iter().take(1).flat_map(|replay| &replay.points).map(|point| (minute(point), point.arriving)).collect();
    let most = points.iter().map(|(_, rate)| *rate).fold(1.0, f64::max) * 1.08;
    let lines = vec![Line { points, colour: INK }];
    Panel { title: "records arriving a second", most, label: |rate| format!("{rate:.0}"), lines }
}

/// By powers of ten: backlogs of one policy are a thousand times those of another.
fn lag(replays: &[Replay]) -> Panel {
    let power = |point: &Point| (point.lag.max(1) as f64).log10();
    let most = replays.iter().flat_map(|replay| &replay.points).map(power).fold(1.0, f64::max) * 1.05;
    let lines = lines(replays, |replay, _| replay.points.iter().map(|point| (minute(point), power(point))).collect());
    let label = |power: &f64| if power.fract() == 0.0 { format!("{:.0}", 10_f64.powf(*power)) } else { String::new() };
    Panel { title: "records waiting (by powers of ten)", most, label, lines }
}

fn replicas(replays: &[Replay]) -> Panel {
    // Beside each other where counts are the same.
    let lines = lines(replays, |replay, index| {
        let mut begin = 0.0;
        let steps = replay.points.iter().flat_map(|point| {
            let (count, end) = (f64::from(point.replicas) + 0.14 * index as f64, minute(point));
            [(std::mem::replace(&mut begin, end), count), (end, count)]
        });
        steps.collect()
    });
    Panel { title: "replicas asked for, by the minute", most: 12.9, label: |count| format!("{count:.0}"), lines }
}

/// A line for each policy, the first of them last, so that it is on top.
fn lines(replays: &[Replay], points: impl Fn(&Replay, usize) -> Vec<(f64, f64)>) -> Vec<Line> {
    let all = replays.iter().zip(POLICIES).enumerate();
    let mut lines: Vec<_> =
        all.map(|(index, (replay, colour))| Line { points: turns(points(replay, index)), colour }).collect();
    lines.reverse();
    lines
}

/// Without the points in the middle of a level stretch.
fn turns(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for point in points {
        if let [.., (_, before), (last, value)] = kept.as_mut_slice()
            && *before == *value
            && *value == point.1
        {
            *last = point.0;
        } else {
            kept.push(point);
        }
    }
    kept
}

fn minute(point: &Point) -> f64 {
    point.at.as_secs_f64() / 60.0
}

impl Panel {
    fn draw(self, area: &Area, minutes: f64) -> Drawn {
        let mut chart = ChartBuilder::on(area)
            .margin_right(14)
            .margin_top(24)
            .x_label_area_size(22)
            .y_label_area_size(58)
            .build_cartesian_2d(0.0..minutes, 0.0..self.most)?;
        chart
            .configure_mesh()
            .x_labels(13)
            .y_labels(6)
            .max_light_lines(0)
            .bold_line_style(FAINT)
            .axis_style(FAINT)
            .x_label_formatter(&|minute| format!("{minute:.0}"))
            .y_label_formatter(&self.label)
            .label_style(("sans-serif", 12, &INK))
            .draw()?;
        for Line { points, colour } in self.lines {
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        }
        area.draw(&Text::new(self.title, (58, 5), font(13, INK)))
    }
}

#[cfg(test)]
mod tests {
    use super::turns;

    #[test]
    fn level_stretches_keep_their_ends() {
        let points = vec![(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (2.0, 5.0), (3.0, 5.0), (4.0, 1.0)];
        assert_eq!(turns(points), [(0.0, 1.0), (2.0, 1.0), (2.0, 5.0), (3.0, 5.0), (4.0, 1.0)]);
    }
}
