//! The comparison as bars on a logarithmic scale, in SVG.

use super::markdown::name;
use super::{Comparison, Evidence, Figures, Outcome};
use crate::number::grouped;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Width, and height of a bar and of all that is no bar, in pixels.
const WIDTH: u32 = 900;
const BAR: u32 = 34;
const FRAME: u32 = 110;
const FONT: (&str, u32) = ("sans-serif", 14);

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// No row has a rate.
    #[error("there is nothing to draw: no row has a rate (a simulated core needs --clock, or to be a board's)")]
    Empty,
    /// The file cannot be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The file.
        path: String,
        /// What went wrong.
        error: String,
    },
}

/// One bar.
struct Bar {
    label: String,
    rate: f64,
    evidence: Evidence,
    /// Of many streams together.
    aggregate: bool,
}

fn bars(comparison: &Comparison) -> Vec<Bar> {
    let mut bars = vec![];
    for row in &comparison.rows {
        let Outcome::Ran(figures) = &row.result else {
            continue;
        };
        let Figures {
            tokens_per_second,
            aggregate_tokens_per_second,
            streams,
            evidence,
            ..
        } = figures.as_ref();
        let mut bar = |rate: f64, aggregate: bool| {
            let of = if aggregate {
                format!(" ({streams} streams)")
            } else {
                String::new()
            };
            bars.push(Bar {
                label: name(row) + &of,
                rate,
                evidence: *evidence,
                aggregate,
            });
        };
        if let Some(spread) = tokens_per_second {
            bar(spread.median, false);
        }
        if let Some(spread) = aggregate_tokens_per_second {
            bar(spread.median, true);
        }
    }
    bars
}

fn color(evidence: Evidence) -> RGBColor {
    match evidence {
        Evidence::Measured => RGBColor(40, 90, 160),
        Evidence::Simulated | Evidence::Derived => RGBColor(200, 110, 30),
        Evidence::Emulated => RGBColor(150, 150, 150),
    }
}

fn word(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Measured => "measured",
        Evidence::Simulated => "simulated",
        Evidence::Derived => "derived from simulated cycles",
        Evidence::Emulated => "emulated, times mean nothing",
    }
}

/// Draw the rates of all rows that have one.
///
/// # Errors
/// If there is none, or the file cannot be written.
pub fn draw(comparison: &Comparison, path: &Path) -> Result<(), ChartError> {
    let bars = bars(comparison);
    if bars.is_empty() {
        return Err(ChartError::Empty);
    }
    plot(comparison, &bars, path).map_err(|error| ChartError::Write {
        path: path.display().to_string(),
        error: error.to_string(),
    })
}

fn plot(
    comparison: &Comparison,
    bars: &[Bar],
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let decade = |rate: f64, up: bool| {
        let log = rate.max(1.0).log10();
        10f64.powf(if up { log.floor() + 1.0 } else { log.floor() })
    };
    let least = bars.iter().map(|bar| bar.rate).fold(f64::MAX, f64::min);
    let most = bars.iter().map(|bar| bar.rate).fold(1.0, f64::max);
    // A bar's number stands behind it: a decade more leaves it room.
    let (left, right) = (decade(least, false) / 10.0, decade(most, true) * 10.0);

    let height = FRAME + BAR * bars.len() as u32;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let rows = bars.len() as f64;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            format!(
                "{}: the same {} tokens",
                comparison.model, comparison.tokens
            ),
            ("sans-serif", 18),
        )
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(230)
        .build_cartesian_2d((left..right).log_scale(), rows..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .x_desc("tokens a second")
        .x_label_formatter(&|rate| grouped(*rate))
        .label_style(FONT)
        .axis_desc_style(FONT)
        .draw()?;
    for (i, bar) in bars.iter().enumerate() {
        let i = i as f64;
        let shade = color(bar.evidence).mix(if bar.aggregate { 0.45 } else { 0.9 });
        chart.draw_series([Rectangle::new(
            [(left, i + 0.2), (bar.rate, i + 0.8)],
            shade.filled(),
        )])?;
        let style = FONT.into_text_style(&root);
        let right_of = style.clone().pos(Pos::new(HPos::Left, VPos::Center));
        let left_of = style.pos(Pos::new(HPos::Right, VPos::Center));
        let number = format!(" {} ({})", grouped(bar.rate), word(bar.evidence));
        chart.draw_series([Text::new(number, (bar.rate, i + 0.5), right_of)])?;
        let (x, y) = chart.backend_coord(&(left, i + 0.5));
        root.draw(&Text::new(bar.label.clone(), (x - 8, y), left_of))?;
    }
    root.present()?;
    Ok(())
}
