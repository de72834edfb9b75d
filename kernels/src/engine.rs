//! A model on a GPU: its streams, and the launches that move them on.

use crate::device::{CudaError, Device};
use crate::layout::*;
use crate::plan::{Mode, Plan};
use crate::program::Program;
use annulus_contract::sample::Gumbel;
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, CudaSlice, LaunchConfig, PushKernelArg};
use std::ops::Range;
use std::sync::Arc;

/// Most passes of a launch, and most tokens given with it.
pub const CAPACITY: usize = 1024;
/// Polls of a barrier before a block gives up: seconds on a GPU, where a poll takes
/// about a microsecond.
const PATIENCE: u32 = 1 << 22;

/// What a stream does with its logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Greedy without.
    pub gumbel: Option<Gumbel>,
    /// Ends a run when it is chosen.
    pub stop: Option<u32>,
    /// Restarts position and ring when it is chosen.
    pub restart: Option<u32>,
}

/// What a run chose, stream by stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Tokens.
    pub tokens: Vec<u32>,
    /// Cycles of a multiprocessor from one token to the next, by its own counter;
    /// all 0 for [`Mode::Graph`], whose kernels may sit on different ones.
    pub cycles: Vec<u32>,
}

/// A stream's place and rings, to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedStream(Vec<i32>);

/// Streams of one model on a GPU.
pub struct Engine {
    device: Arc<Device>,
    program: Arc<Program>,
    plan: Plan,
    placement: i32,
    words: CudaSlice<i32>,
    streams: CudaSlice<i32>,
    input: CudaSlice<i32>,
    output: CudaSlice<i32>,
    clocks: CudaSlice<u32>,
    /// A pass without logits and one with them.
    graphs: Option<[CudaGraph; 2]>,
}

impl Engine {
    /// Empty streams of a model, chosen from greedily.
    ///
    /// # Errors
    /// If the GPU cannot do the plan, or lacks the memory.
    pub fn new(device: Arc<Device>, program: Arc<Program>, plan: Plan) -> Result<Self, CudaError> {
        plan.check(&device)?;
        let stream = &device.stream;
        let streams = program.empty_stream().repeat(plan.streams);
        let mut engine = Engine {
            placement: plan.placement(&device, &program),
            words: stream.clone_htod(program.words())?,
            streams: stream.clone_htod(&streams)?,
            input: stream.alloc_zeros(CAPACITY)?,
            output: stream.alloc_zeros((CAPACITY + 1) * plan.streams)?,
            clocks: stream.alloc_zeros((CAPACITY + 1) * plan.streams)?,
            graphs: None,
            device,
            program,
            plan,
        };
        if plan.mode == Mode::Graph {
            engine.graphs = Some([engine.capture(true)?, engine.capture(false)?]);
        }
        Ok(engine)
    }

    /// How it is spread over the GPU.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// The model.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Empty all streams: position 0, nothing in the rings, no samples drawn. Done
    /// when it returns.
    ///
    /// # Errors
    /// If the GPU fails.
    pub fn reset(&mut self) -> Result<(), CudaError> {
        // The barrier's words as well: a fault may have left some of them behind.
        for stream in 0..self.plan.streams {
            self.write(stream, 0, &[0; S_SAMPLING])?;
        }
        Ok(self.device.stream.synchronize()?)
    }

    /// What a stream does with its logits from now on.
    ///
    /// # Errors
    /// If the GPU fails.
    pub fn set_choice(&mut self, stream: usize, choice: Choice) -> Result<(), CudaError> {
        let token = |token: Option<u32>| token.map_or(NO_TOKEN, |token| token as i32);
        let gumbel = choice.gumbel;
        let key = gumbel.map_or_else(Default::default, |g| g.key);
        let words = [
            (S_SAMPLING, gumbel.is_some().into()),
            (S_IT, gumbel.map_or(0, |g| g.it.into())),
            (S_K0, key.k0 as i32),
            (S_K1, key.k1 as i32),
            (S_STOP, token(choice.stop)),
            (S_RESTART, token(choice.restart)),
        ];
        words
            .iter()
            .try_for_each(|&(at, word)| self.write(stream, at, &[word]))
    }

    /// Make `passes` passes, at most [`CAPACITY`]: they take `inputs`, at least one,
    /// and then their own choices; the first `silent` have no logits and choose
    /// nothing. A stream's run ends early at its stop token.
    ///
    /// # Errors
    /// If the GPU fails or its blocks do not meet.
    ///
    /// # Panics
    /// If the numbers contradict each other, or a token is not in the vocabulary.
    pub fn run(
        &mut self,
        inputs: &[u32],
        passes: usize,
        silent: usize,
    ) -> Result<Vec<Chosen>, CudaError> {
        assert!(!inputs.is_empty() && silent <= inputs.len() && inputs.len() <= CAPACITY);
        assert!(inputs.len() <= passes && passes <= CAPACITY);
        let vocab = self.program.vocab() as u32;
        assert!(inputs.iter().all(|&token| token < vocab));

        let words: Vec<i32> = inputs.iter().map(|&token| token as i32).collect();
        let device = self.device.clone();
        device
            .stream
            .memcpy_htod(&words, &mut self.input.slice_mut(..words.len()))?;
        match &self.graphs {
            None => self.launch_loop(words.len(), passes, silent)?,
            Some(graphs) => {
                let mut beginning = [0; RUN_WORDS];
                beginning[S_INPUTS] = words.len() as i32;
                let mut place = self.streams.slice_mut(..RUN_WORDS);
                device.stream.memcpy_htod(&beginning, &mut place)?;
                for pass in 0..passes {
                    // Without logits first, then with them.
                    graphs[usize::from(pass >= silent)].launch()?;
                }
            }
        }
        self.chosen(passes + 1)
    }

    /// What the streams chose in the last run: rows of `capacity` words, of which the
    /// first is a count.
    fn chosen(&self, capacity: usize) -> Result<Vec<Chosen>, CudaError> {
        let queue = &self.device.stream;
        let all = self.plan.streams * capacity;
        let output: Vec<i32> = queue.clone_dtoh(&self.output.slice(..all))?;
        let clocks: Vec<u32> = queue.clone_dtoh(&self.clocks.slice(..all))?;
        queue.synchronize()?;
        let rows = output
            .chunks_exact(capacity)
            .zip(clocks.chunks_exact(capacity));
        let chosen = |(tokens, cycles): (&[i32], &[u32])| {
            if tokens[0] == UNFINISHED {
                return Err(CudaError::Barrier);
            }
            let found = 1..1 + tokens[0] as usize;
            Ok(Chosen {
                tokens: tokens[found.clone()].iter().map(|&t| t as u32).collect(),
                cycles: cycles[found].to_vec(),
            })
        };
        rows.map(chosen).collect()
    }

    /// Logits of a stream's last pass that had them.
    ///
    /// # Errors
    /// If the GPU fails.
    pub fn logits(&self, stream: usize) -> Result<Vec<i32>, CudaError> {
        let at = self.program.field(P_LOGITS);
        self.read(stream, at..at + self.program.vocab())
    }

    /// A stream's place and rings.
    ///
    /// # Errors
    /// If the GPU fails.
    pub fn save(&self, stream: usize) -> Result<SavedStream, CudaError> {
        Ok(SavedStream(
            self.read(stream, 0..self.program.field(P_LOGITS))?,
        ))
    }

    /// Go on from there, with the choice of now.
    ///
    /// # Errors
    /// If the GPU fails.
    ///
    /// # Panics
    /// If it was saved from a stream of another shape.
    pub fn restore(&mut self, stream: usize, saved: &SavedStream) -> Result<(), CudaError> {
        assert_eq!(saved.0.len(), self.program.field(P_LOGITS));
        self.write(stream, S_TOKEN, &saved.0[S_TOKEN..S_SAMPLING])?;
        self.write(stream, STATE_WORDS, &saved.0[STATE_WORDS..])
    }

    /// The whole token loop in one launch.
    fn launch_loop(
        &mut self,
        inputs: usize,
        passes: usize,
        silent: usize,
    ) -> Result<(), CudaError> {
        let shared = self.program.shared_bytes(self.placement);
        let device = self.device.clone();
        let kernel = device.kernel("annulus_run", shared)?;
        let Plan {
            streams, blocks, ..
        } = self.plan;
        let config = self.config(streams as u32 * blocks, shared);
        let [team, inputs, passes, silent, capacity] = [
            blocks as i32,
            inputs as i32,
            passes as i32,
            silent as i32,
            passes as i32 + 1,
        ];
        let mut launch = device.stream.launch_builder(kernel);
        launch
            .arg(&self.words)
            .arg(&mut self.streams)
            .arg(&self.input)
            .arg(&mut self.output)
            .arg(&mut self.clocks)
            .arg(&team)
            .arg(&inputs)
            .arg(&passes)
            .arg(&silent)
            .arg(&capacity)
            .arg(&PATIENCE)
            .arg(&self.placement);
        // SAFETY: the arguments are those of `annulus_run`, and the buffers have the
        // sizes that the program's header states; `run` has checked the numbers.
        unsafe {
            if blocks > 1 {
                launch.launch_cooperative(config)?;
            } else {
                launch.launch(config)?;
            }
        }
        Ok(())
    }

    /// A pass of one stream as a graph, a kernel a step.
    fn capture(&mut self, silent: bool) -> Result<CudaGraph, CudaError> {
        let queue = self.device.stream.clone();
        queue.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        let recorded = self.record(silent);
        // A capture that was begun is always ended.
        let graph = queue.end_capture(CUgraphInstantiate_flags(0))?;
        recorded?;
        graph.ok_or_else(|| CudaError::Driver("a captured graph is empty".into()))
    }

    fn record(&mut self, silent: bool) -> Result<(), CudaError> {
        let program = self.program.clone();
        self.kernel("annulus_embed", Extra::Input)?;
        if program.field(P_EMBEDDING_EPS) != 0 {
            self.kernel("annulus_embedding_norm", Extra::None)?;
        }
        for layer in 0..program.field(P_LAYERS) as i32 {
            for step in [
                "annulus_qkv",
                "annulus_heads",
                "annulus_attention",
                "annulus_out",
                "annulus_gate_up",
                "annulus_down",
            ] {
                self.kernel(step, Extra::Layer(layer))?;
            }
        }
        if !silent {
            self.kernel("annulus_logits", Extra::None)?;
        }
        self.kernel("annulus_end", Extra::Output(silent.into()))
    }

    /// One kernel of a graph.
    fn kernel(&mut self, name: &str, extra: Extra) -> Result<(), CudaError> {
        let shared = self.program.shared_bytes(0);
        let device = self.device.clone();
        let config = match extra {
            Extra::Output(_) => LaunchConfig {
                grid_dim: (1, 1, 1),
                block_dim: (32, 1, 1),
                shared_mem_bytes: shared as u32,
            },
            _ => self.config(self.plan.blocks, shared),
        };
        let mut launch = device.stream.launch_builder(device.kernel(name, shared)?);
        launch.arg(&self.words).arg(&mut self.streams);
        match &extra {
            Extra::None => {}
            Extra::Input => {
                launch.arg(&self.input);
            }
            Extra::Layer(layer) => {
                launch.arg(layer);
            }
            Extra::Output(silent) => {
                launch.arg(&mut self.output).arg(silent);
            }
        }
        // SAFETY: the arguments are those of the kernel, and the buffers have the
        // sizes that the program's header states.
        unsafe { launch.launch(config)? };
        Ok(())
    }

    fn config(&self, blocks: u32, shared: usize) -> LaunchConfig {
        LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (self.plan.threads, 1, 1),
            shared_mem_bytes: shared as u32,
        }
    }

    fn write(&mut self, stream: usize, at: usize, words: &[i32]) -> Result<(), CudaError> {
        if words.is_empty() {
            return Ok(());
        }
        let at = self.place(stream) + at;
        let mut place = self.streams.slice_mut(at..at + words.len());
        Ok(self.device.stream.memcpy_htod(words, &mut place)?)
    }

    fn read(&self, stream: usize, at: Range<usize>) -> Result<Vec<i32>, CudaError> {
        let start = self.place(stream);
        let place = self.streams.slice(start + at.start..start + at.end);
        let words = self.device.stream.clone_dtoh(&place)?;
        self.device.stream.synchronize()?;
        Ok(words)
    }

    fn place(&self, stream: usize) -> usize {
        stream * self.program.field(P_STREAM_WORDS)
    }
}

/// What a graph's kernel gets besides program and stream.
enum Extra {
    None,
    Input,
    Layer(i32),
    Output(i32),
}
