//! The graph as a drawing: time goes to the right, every row of the table has a lane, and what all rows share is above.

use serde::Serialize;

use super::Graph;

/// Width of a box, and of the space to the next one.
const BOX: (usize, usize) = (112, 34);
const GAP: (usize, usize) = (34, 8);
/// Space between lanes.
const LANE: usize = 14;

/// A box or a line of the drawing.
#[derive(Serialize)]
pub(crate) struct Shape {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) part: &'static str,
    pub(crate) name: String,
    /// The command that made it.
    pub(crate) command: String,
}

/// Boxes, the lines between them, and the size of the whole.
#[derive(Serialize)]
pub(crate) struct Drawing {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) boxes: Vec<Shape>,
    /// Paths of SVG, and whether they begin at what all rows share.
    pub(crate) lines: Vec<(String, bool)>,
}

/// Places the boxes and draws the lines.
pub(crate) fn draw(graph: &Graph, rows: usize) -> Drawing {
    let columns = columns(graph);
    let lane = |node: usize| graph.nodes[node].row.map_or(0, |row| row + 1);
    // In each lane, what stands in the same column is put below each other.
    let mut places = vec![(0, 0); graph.nodes.len()];
    let mut y = 0;
    for of_lane in 0..=rows {
        let nodes: Vec<usize> = (0..graph.nodes.len()).filter(|&node| lane(node) == of_lane).collect();
        let mut filled = vec![0; graph.nodes.len() + 1];
        for &node in &nodes {
            let column = columns[node];
            places[node] = (column * (BOX.0 + GAP.0), y + filled[column] * (BOX.1 + GAP.1));
            filled[column] += 1;
        }
        let height = filled.into_iter().max().unwrap_or(0) * (BOX.1 + GAP.1);
        y += if height > 0 { height + LANE } else { 0 };
    }
    let shape = |(node, &(x, y)): (&super::Node, &(usize, usize))| Shape {
        x,
        y,
        part: node.part,
        name: node.name.clone(),
        command: node.provenance.get(hardmine_records::provenance::COMMAND).unwrap_or_default().to_owned(),
    };
    let line = |&(from, to): &(usize, usize)| {
        let ((x0, y0), (x1, y1)) = (places[from], places[to]);
        let (x0, y0, y1) = (x0 + BOX.0, y0 + BOX.1 / 2, y1 + BOX.1 / 2);
        let bend = x0.max(x1) - GAP.0 / 2;
        (format!("M{x0} {y0}C{bend} {y0} {} {y1} {x1} {y1}", x1.saturating_sub(GAP.0)), lane(from) == 0)
    };
    Drawing {
        width: places.iter().map(|place| place.0 + BOX.0).max().unwrap_or(0),
        height: y,
        boxes: graph.nodes.iter().zip(&places).map(shape).collect(),
        lines: graph.edges.iter().map(line).collect(),
    }
}

/// The column of each node: one further to the right than all that it was made of.
fn columns(graph: &Graph) -> Vec<usize> {
    let mut columns = vec![0; graph.nodes.len()];
    // A path has no more steps than there are nodes; what is in a circle stops there.
    for _ in 0..graph.nodes.len() {
        for &(from, to) in &graph.edges {
            columns[to] = columns[to].max(columns[from] + 1).min(graph.nodes.len());
        }
    }
    columns
}
