//! The sequencer: fetches steps, waits for what they need, hands them to the scan.

use super::text::{address_bits, kinds, localparams, step_fields, BLOCK_RAM, STEP_BITS};
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// Runs the list of steps once for each `start` and answers with `done`.
    ///
    /// The step memory lies here, written through `write` (a bit a 32-bit lane). A step
    /// is in flight from `go` until its unit says that its last result is (as good as)
    /// written: `retire_*`.
    pub struct Sequencer {
        in clock: Clock,
        in reset: Bit,
        in start: Bit,
        in far: Bit,
        in prefill: Bit,
        in scan_ready: Bit,
        in retire_residual: Bit,
        in retire_hidden: Bit,
        in retire_heads: Bit,
        in retire_values: Bit,
        in retire_scores: Bit,
        in retire_logits: Bit,
        in head_done: Bit,
        in score_done: Bit,
        in write: Bits<8>,
        in write_at: Bits<16>,
        in data: Bits<32>,
        in read_at: Bits<16>,
        in idle: Bit,
        out found: Bits<STEP_BITS>,
        out go: Bit,
        out step: Bits<STEP_BITS>,
        out done: Bit,
        /// Kind of the newest step; [`annulus_contract::step::Kind::End`] between tokens.
        out kind: Bits<4>,
        out bad_step: Bit,
        param _steps: usize,
    }
    verilog(this) {
        kinds() + &localparams(&[("STEPS", this._steps), ("A", address_bits(this._steps))])
            + &step_fields("found", &["kind", "far_only", "skip_on_prefill"])
            + &step_fields("step", &["kind", "wait", "wait_count", "restart_counts"]) + BLOCK_RAM + "reg [255:0] mem [0:STEPS-1];
reg [A-1:0] pc;
reg running, found_valid, step_valid;
reg [4:0] in_flight;
reg [7:0] heads, scores;
reg [3:0] current;
integer i;

wire drained = in_flight == 0;
reg skip, bad, finish;         // of the step
wire found_skip = (found_far_only && «the sinks' queries are never made: !far → 1'b1») || (found_skip_on_prefill && «a prompt's token runs every step: prefill → 1'b0»);
wire found_bad = «an unknown step is not refused: found_kind > KIND_LOGITS → 1'b0»;
wire met = step_wait == 0 || (step_wait == 1 && «a step starts before its vector is written: drained → 1'b1»)
    || (step_wait == 2 && heads >= «scores start one query head early: step_wait_count → step_wait_count - 8'd1») || (step_wait == 3 && scores >= «a mix starts one head of scores early: step_wait_count → step_wait_count - 8'd1»);
wire take = running && step_valid && !finish && (skip || (met && scan_ready));
wire move = found_valid && (!step_valid || take);
wire fetch = running && (!found_valid || move);

always @(*) go = take && !skip;
always @(*) kind = running ? current : KIND_IDLE;

wire [A-1:0] at = idle ? read_at[A-1:0] : pc;
always @(posedge clock) begin
    for (i = 0; i < 8; i = i + 1)
        if (write[i]) mem[write_at[A-1:0]][32*i +: 32] <= data;
    if (fetch || idle) found <= mem[at];
    if (fetch) pc <= pc + 1'b1;
    found_valid <= fetch || (found_valid && !move);
    if (move) begin
        step <= found;
        skip <= found_skip;
        bad <= found_bad;
        finish <= found_kind == KIND_IDLE || found_bad;
    end
    step_valid <= move || (step_valid && !take);

    in_flight <= in_flight + {4'd0, go} - ({4'd0, retire_residual} + «a hidden vector retires twice: {4'd0, retire_hidden} → {3'd0, retire_hidden, 1'b0}» + {4'd0, retire_heads}
        + {4'd0, retire_values} + {4'd0, retire_scores} + {4'd0, retire_logits});
    heads <= go && «query heads of earlier layers count: step_restart_counts → 1'b0» ? 8'd0 : heads + {7'd0, head_done};
    scores <= go && step_restart_counts ? 8'd0 : scores + {7'd0, score_done};
    if (go) current <= step_kind;

    done <= 0;
    bad_step <= 0;
    if (running && step_valid && finish && «a token ends before its last step: drained → 1'b1» && !done) begin
        running <= 0;
        found_valid <= 0;
        step_valid <= 0;
        done <= 1;
        bad_step <= bad;
    end
    if (start) begin
        running <= 1;
        current <= KIND_EMBED;
        pc <= 0;
        found_valid <= 0;
        step_valid <= 0;
    end
    if (reset) begin
        running <= 0;
        found_valid <= 0;
        step_valid <= 0;
        in_flight <= 0;
    end
end
"
    }
}
