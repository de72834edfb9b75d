//! The design space as a picture: cycles against loss, a color a core.

use super::{Outcome, Point};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Width and height in pixels.
const SIZE: (u32, u32) = (900, 560);
/// Font and its size in pixels, for labels.
const FONT: (&str, u32) = ("sans-serif", 14);
/// One color a core, in the order in which they come.
const COLORS: [RGBColor; 7] = [
    RGBColor(200, 60, 40),
    RGBColor(50, 110, 190),
    RGBColor(40, 150, 90),
    RGBColor(150, 90, 170),
    RGBColor(220, 140, 30),
    RGBColor(90, 90, 90),
    RGBColor(0, 150, 160),
];

/// The picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the design space: {0}")]
pub struct PlotError(String);

/// An SVG of the combinations that fit: a full dot where nothing dominates, a ring elsewhere.
/// Beside it stands the window, with `+4` for four sinks, `w4` for weights and `v4` for values of 4 bits.
///
/// # Errors
/// If nothing fits.
pub fn svg(title: &str, points: &[Point]) -> Result<String, PlotError> {
    let mut text = String::new();
    draw(
        title,
        points,
        &SVGBackend::with_string(&mut text, SIZE).into_drawing_area(),
    )?;
    Ok(text)
}

fn draw(
    title: &str,
    points: &[Point],
    root: &DrawingArea<SVGBackend, Shift>,
) -> Result<(), PlotError> {
    let fitting: Vec<_> = points
        .iter()
        .filter_map(|point| match &point.outcome {
            Outcome::Fits(figures) => Some((point, figures)),
            Outcome::Refused { .. } => None,
        })
        .collect();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, 0.0f64), |(low, high), v| {
            (low.min(v), high.max(v))
        })
    };
    let cycles = range(&mut fitting.iter().map(|(_, f)| f.cycles as f64));
    let loss = range(&mut fitting.iter().map(|(_, f)| f.loss));
    if fitting.is_empty() {
        return Err(PlotError("no combination fits".into()));
    }
    let margin = (loss.1 - loss.0).max(0.01) * 0.1;
    let failed = |error: DrawingAreaErrorKind<_>| PlotError(format!("{error:?}"));
    root.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(root)
        .caption(title, ("sans-serif", 18))
        .margin(16)
        .margin_right(32)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (cycles.0 * 0.7..cycles.1 * 1.4).log_scale(),
            loss.0 - margin..loss.1 + margin,
        )
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("cycles a token, ring full")
        .y_desc("loss, nats a token")
        .x_label_formatter(&|cycles| format!("{cycles:.0}"))
        .y_label_formatter(&|loss| format!("{loss:.2}"))
        .label_style(FONT)
        .axis_desc_style(FONT)
        .draw()
        .map_err(failed)?;

    let mut cores: Vec<&str> = Vec::new();
    for (point, _) in &fitting {
        if !cores.contains(&point.core.as_str()) {
            cores.push(&point.core);
        }
    }
    for (core, color) in cores.into_iter().zip(COLORS.iter().cycle()) {
        let own = fitting.iter().filter(|(point, _)| point.core == core);
        let dots = own.clone().map(|(_, f)| {
            let style = ShapeStyle {
                color: color.to_rgba(),
                filled: f.pareto,
                stroke_width: 1,
            };
            Circle::new((f.cycles as f64, f.loss), 5, style)
        });
        chart
            .draw_series(dots)
            .map_err(failed)?
            .label(core)
            .legend(move |(x, y)| Circle::new((x + 10, y), 5, color.filled()));
        let labels = own.map(|(point, f)| {
            let sinks = match point.sinks {
                0 => String::new(),
                sinks => format!("+{sinks}"),
            };
            let bits = |what, bits| match bits {
                8 => String::new(),
                bits => format!(" {what}{bits}"),
            };
            let (weights, values) = (bits("w", point.weight_bits), bits("v", point.value_bits));
            Text::new(
                format!("{}{sinks}{weights}{values}", point.window),
                (f.cycles as f64, f.loss),
                ("sans-serif", 11).into_font().color(color),
            )
        });
        chart.draw_series(labels).map_err(failed)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(FONT)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()
        .map_err(failed)?;
    root.present().map_err(failed)
}
