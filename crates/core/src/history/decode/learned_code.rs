//! What decoding has learned of the code in an image.

use std::sync::{Arc, Mutex, PoisonError};

use crate::asid::Asid;
use crate::flow::{Code, Graph, Timeline};
use crate::history::decode::decoded_trace::DecodeOptions;

/// The code bytes read so far, and graphs of them for walks to go on with.
pub(in crate::history) struct LearnedCode {
    code: Arc<Code>,
    graphs: Mutex<Vec<Graph>>,
}

/// Graphs kept for later walks.
const MOST_KEPT: usize = 64;

impl LearnedCode {
    fn new() -> Self {
        LearnedCode { code: Arc::default(), graphs: Mutex::default() }
    }

    /// Code that is known already.
    pub fn with(code: Arc<Code>) -> Arc<LearnedCode> {
        Arc::new(LearnedCode { code, graphs: Mutex::default() })
    }

    /// What earlier decodes of the same images have learned, and later ones will. Memory behind a callback may have
    /// changed, and so may files: then there is nothing to share.
    pub fn of(timeline: &Timeline, options: &DecodeOptions) -> Arc<LearnedCode> {
        let image = timeline.first_image();
        let shared =
            !timeline.has_callback() && options.graph_limits.is_none() && timeline.files_are_unchanged();
        let known = if shared { image.learned(LearnedCode::new) } else { None };
        known.unwrap_or_else(|| Arc::new(LearnedCode::new()))
    }

    /// The code bytes.
    pub fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// A graph to walk with; give it back afterwards.
    pub fn graph(&self, timeline: &Timeline, options: &DecodeOptions) -> Graph {
        if let Some(graph) = self.graphs.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return graph;
        }
        let mode = options.engine.initial_mode;
        let mut graph = Graph::new(self.code.clone(), &timeline.first_image(), Asid::default(), mode);
        if let Some((nodes, instructions)) = options.graph_limits {
            graph.set_limits(nodes, instructions);
        }
        graph
    }

    /// Keeps what a graph has learned.
    pub fn give_back(&self, graph: Graph) {
        let mut graphs = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        if graphs.len() < MOST_KEPT {
            graphs.push(graph);
        }
    }
}
