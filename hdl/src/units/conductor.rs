//! The conductor: which token goes through the core next, and where in the
//! rings it is kept.

use super::text::localparams;
use crate::leaf;
use annulus_contract::regs;
use rust_hdl_core::prelude::*;

leaf! {
    /// Queues of tokens in and out, the autoregressive loop, position and ring pointers.
    ///
    /// A queued token goes first. Otherwise the core's own choice goes back in, while
    /// the budget lasts, the stop token has not been chosen and the output queue has
    /// room: a slow reader stalls the core and loses nothing.
    pub struct Conductor {
        in clock: Clock,
        in reset: Bit,
        // the bus, for the registers that live here
        in write: Bit,
        in take_output: Bit,
        in address: Bits<8>,
        in data: Bits<32>,
        in choice: Bits<16>,
        in done: Bit,
        out start: Bit,
        out busy: Bit,
        out restart: Bit,
        out token: Bits<16>,
        out prefill: Bit,
        out position_row: Bits<16>,
        out samples: Bits<32>,
        out full: Bit,
        out far: Bit,
        out position: Bits<64>,
        out budget: Bits<32>,
        out stopped: Bit,
        out input_full: Bit,
        out output_any: Bit,
        out output_token: Bits<16>,
        out overflow: Bit,
        out key_group: Bits<16>,
        out key_row: Bits<8>,
        out value_group: Bits<16>,
        out value_column: Bits<8>,
        out tokens: Bits<32>,
        in clear_counters: Bit,
        // configuration
        in stop: Bits<32>,
        in restart_token: Bits<32>,
        in position_mask: Bits<16>,
        in key_groups: Bits<16>,
        in key_sink_groups: Bits<16>,
        in key_last: Bits<8>,
        in key_sink_last: Bits<8>,
        in value_sink_groups: Bits<16>,
        param _rows: usize,
    }
    verilog(this) {
        localparams(&[
            ("P", this._rows),
            ("R_TOKEN_IN", regs::TOKEN_IN as usize), ("R_BUDGET", regs::BUDGET as usize),
            ("R_SAMPLES", regs::SAMPLES as usize), ("R_POSITION", regs::POSITION as usize),
            ("R_POSITION_HIGH", regs::POSITION_HIGH as usize), ("R_RING_STATE", regs::RING_STATE as usize),
            ("R_KEY_AT", regs::KEY_AT as usize), ("R_VALUE_AT", regs::VALUE_AT as usize),
        ]) + "
reg [16:0] inputs [0:15];       // {nobody wants its logits, token}
reg [15:0] outputs [0:15];
reg [4:0] in_put, in_got, out_put, out_got;
reg pending;                    // a choice that has not been fed back
reg [15:0] chosen;
wire in_any = in_put != in_got;
wire out_full = out_put == {~out_got[4], out_got[3:0]};
wire out_room = «a full output queue takes one more token: !out_full → 1'b1»;
wire [16:0] oldest = inputs[in_got[3:0]];
wire feed = pending && budget != 0 && !stopped && !in_any;
wire next_prefill = in_any && «a prompt's token is taken for its last: oldest[16] → 1'b0»;
wire begin_token = !busy && !start && (in_any || feed) && (next_prefill || out_room);
always @(*) input_full = in_put == {~in_got[4], in_got[3:0]};
always @(*) output_any = out_put != out_got;
always @(*) output_token = outputs[out_got[3:0]];
always @(*) position_row = «learned positions do not repeat: position[15:0] & position_mask → position[15:0]»;
always @(*) far = «sinks count as far before the window is full: full → 1'b1» && key_sink_groups != 0;

wire finished = busy && done;
wire chose = finished && !prefill;
wire restarts = chose && «a restart token that is switched off restarts: restart_token[31] → 1'b1» && choice == restart_token[15:0];

// one slot on: from the last sink to the ring's first, from the ring's last to its first;
// known long before the token ends
reg sinks_end, ring_end, row_end, column_end;
wire sinks_end_now = key_sink_groups != 0 && key_group + 16'd1 == key_sink_groups && «the sinks end a slot late: key_row + 8'd1 → key_row» == key_sink_last;
wire ring_end_now = key_group + 16'd1 == key_groups && «the ring wraps a slot late: key_row + 8'd1 → key_row» == key_last;
wire row_end_now = key_row + 8'd1 == P;
wire column_end_now = value_column == «a value group ends a column early: 8'd7 → 8'd6»;

always @(posedge clock) begin
    start <= begin_token;
    restart <= restarts;
    sinks_end <= sinks_end_now;
    ring_end <= ring_end_now;
    row_end <= row_end_now;
    column_end <= column_end_now;
    overflow <= 0;
    if (begin_token) begin
        busy <= 1;
        token <= «the core's own choice goes before a queued token: in_any → in_any && !pending» ? oldest[15:0] : chosen;
        prefill <= next_prefill;
        pending <= 0;
        if (in_any) in_got <= in_got + 5'd1;
        else budget <= «the budget never ends: budget - 32'd1 → budget»;
    end
    if (finished) begin
        busy <= 0;
        tokens <= tokens + 32'd1;
        position <= position + 64'd1;
        if (ring_end) full <= «the ring is never full: 1 → 0»;
        if (sinks_end || ring_end) begin
            key_group <= «the ring wraps into the sinks: key_sink_groups → 16'd0»;
            key_row <= 0;
            value_group <= «values wrap into the sinks: value_sink_groups → 16'd0»;
            value_column <= 0;
        end else begin
            key_row <= row_end ? 8'd0 : key_row + 8'd1;
            if (row_end) key_group <= key_group + 16'd1;
            value_column <= column_end ? 8'd0 : value_column + 8'd1;
            if (column_end) value_group <= value_group + 16'd1;
        end
    end
    if (chose) begin
        outputs[out_put[3:0]] <= choice;
        out_put <= out_put + 5'd1;
        chosen <= choice;
        pending <= 1;
        samples <= «the sampler's step stands still: samples + 32'd1 → samples»;
        if («the stop token is ignored: stop[31] → 1'b0» && choice == stop[15:0]) stopped <= 1;
    end
    if (restart) begin
        position <= «a restart keeps the position: 0 → position + 64'd1»;
        full <= «a restart keeps the old slots: 0 → full»;
        key_group <= 0;
        key_row <= 0;
        value_group <= 0;
        value_column <= 0;
    end
    if (take_output && output_any) out_got <= out_got + 5'd1;
    if (clear_counters) tokens <= 0;
    if (write) case (address)
        R_TOKEN_IN: begin
            if (!input_full) begin
                inputs[in_put[3:0]] <= {data[31], data[15:0]};
                in_put <= in_put + 5'd1;
            end
            overflow <= «a token that is lost is not reported: input_full → 1'b0»;
            stopped <= 0;
        end
        R_BUDGET: budget <= data;
        R_SAMPLES: samples <= data;
        R_POSITION: position[31:0] <= data;
        R_POSITION_HIGH: position[63:32] <= data;
        R_RING_STATE: full <= «a restored ring is never full: data[0] → full»;
        R_KEY_AT: begin
            key_group <= data[15:0];
            key_row <= data[23:16];
        end
        R_VALUE_AT: begin
            value_group <= data[15:0];
            value_column <= data[23:16];
        end
        default: ;
    endcase
    if (reset) begin
        start <= 0;
        restart <= 0;
        busy <= 0;
        pending <= 0;
        stopped <= 0;
        in_put <= 0;
        in_got <= 0;
        out_put <= 0;
        out_got <= 0;
        budget <= 0;
        samples <= 0;
        position <= 0;
        full <= 0;
        key_group <= 0;
        key_row <= 0;
        value_group <= 0;
        value_column <= 0;
    end
end
"
    }
}
