//! Plots as SVG, in few colours, which the page turns into those of its light and dark forms.

use std::ops::Range;

use hardmine_records::{Error, Result};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Width and height of a plot, in CSS pixels where there is room for them.
pub(crate) const SMALL: (u32, u32) = (340, 210);
/// … of one that goes over the whole page.
pub(crate) const WIDE: (u32, u32) = (560, 230);

/// Axes and letters.
pub(crate) const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
/// Lines that lead the eye, and curves that are there for comparison.
pub(crate) const FAINT: RGBColor = RGBColor(0xCC, 0xCC, 0xCC);
/// Two colours that are told apart by everybody (Okabe and Ito 2008), also in shades of grey.
pub(crate) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
pub(crate) const ORANGE: RGBColor = RGBColor(0xE6, 0x9F, 0x00);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// The axes of a plot.
pub(crate) struct Axes<'a> {
    pub(crate) size: (u32, u32),
    pub(crate) x: Range<f64>,
    pub(crate) y: Range<f64>,
    /// What the axes are labelled with.
    pub(crate) x_label: &'a str,
    pub(crate) y_label: &'a str,
}

impl Axes<'_> {
    /// An SVG with these axes, in which `draw` draws.
    pub(crate) fn draw(&self, draw: impl FnOnce(&mut Chart) -> Drawn) -> Result<String> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, self.size).into_drawing_area();
        self.draw_on(&area, draw).map_err(Error::at("plot"))?;
        drop(area);
        Ok(svg)
    }

    fn draw_on<'a>(&self, area: &Area<'a>, draw: impl FnOnce(&mut Chart<'a>) -> Drawn) -> Drawn {
        let font = |size: u32| ("sans-serif", size).into_font().color(&INK);
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(14)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let step = (self.y.end - self.y.start) / 5.0;
        let decimals = (-step.log10()).ceil().clamp(0.0, 4.0) as usize;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(FAINT)
            .x_labels(5)
            .y_labels(5)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| format!("{y:.decimals$}"))
            .x_desc(self.x_label)
            .y_desc(self.y_label)
            .label_style(font(12))
            .axis_desc_style(font(12))
            .draw()?;
        draw(&mut chart)?;
        area.present()
    }
}

/// What drawing comes to.
pub(crate) type Drawn = std::result::Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A number without digits that say nothing.
fn short(number: f64) -> String {
    let text = format!("{:.3}", number);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A range that has all of `values`, and a little room around them.
pub(crate) fn range(values: impl IntoIterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .into_iter()
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    match low.partial_cmp(&high) {
        Some(std::cmp::Ordering::Less) => {
            let room = (high - low) * 0.06;
            low - room..high + room
        }
        Some(std::cmp::Ordering::Equal) => low - 0.5..low + 0.5,
        _ => 0.0..1.0,
    }
}
