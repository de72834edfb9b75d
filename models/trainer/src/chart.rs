//! The loss curve as an SVG.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;

use crate::curve::CurvePoint;

/// Width and height in pixels.
const SIZE: (u32, u32) = (800, 450);
/// Font and its size in pixels, for every label.
const FONT: (&str, u32) = ("sans-serif", 15);

/// Draws the two losses over the steps, those within `losses`, in nats; the first steps,
/// above them, are left out.
pub fn write(curve: &[CurvePoint], losses: Range<f64>, path: &Path) -> Result<()> {
    draw(curve, losses, path)
        .with_context(|| format!("cannot draw the loss curve {}", path.display()))
}

fn draw(curve: &[CurvePoint], losses: Range<f64>, path: &Path) -> Result<()> {
    let steps = curve.last().map_or(1, |point| point.step);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .margin_right(32)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0..steps, losses.clone())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("steps")
        .y_desc("nats a symbol")
        .label_style(FONT)
        .axis_desc_style(FONT)
        .y_label_formatter(&|loss| format!("{loss:.2}"))
        .draw()?;

    type Loss = fn(&CurvePoint) -> f64;
    let series: [(&str, RGBColor, Loss); 2] = [
        ("training batches", RGBColor(150, 170, 200), |point| {
            point.train
        }),
        ("held out", RGBColor(200, 60, 40), |point| point.held_out),
    ];
    for (label, color, loss) in series {
        let line = curve
            .iter()
            .map(|point| (point.step, loss(point)))
            .skip_while(|(_, loss)| *loss > losses.end);
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(FONT)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}
