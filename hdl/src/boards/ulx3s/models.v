// What the ECP5's clock cells do, as far as a simulation of cycles can tell.

// The PLL as its input: how many cycles of the core pass in one of the oscillator's is
// nothing that a cycle can see. It locks after a while.
module EHXPLLL(
    input CLKI, CLKFB, RST, STDBY, PLLWAKESYNC, ENCLKOP, ENCLKOS,
    input PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG,
    output CLKOP, CLKOS, LOCK
);
    parameter CLKI_DIV = 1, CLKFB_DIV = 1, FEEDBK_PATH = "CLKOP", INTFB_WAKE = "DISABLED";
    parameter PLLRST_ENA = "DISABLED", STDBY_ENABLE = "DISABLED", DPHASE_SOURCE = "DISABLED";
    parameter CLKOP_ENABLE = "ENABLED", OUTDIVIDER_MUXA = "DIVA";
    parameter CLKOP_DIV = 1, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0;
    parameter CLKOS_ENABLE = "ENABLED", OUTDIVIDER_MUXB = "DIVB";
    parameter CLKOS_DIV = 1, CLKOS_CPHASE = 0, CLKOS_FPHASE = 0;
    reg [3:0] passed;
    always @(posedge CLKI) if (!LOCK) passed <= passed + 4'd1;
    assign LOCK = passed[3];
    assign CLKOP = CLKI;
    assign CLKOS = CLKI;
endmodule

// A clock's gate: it opens and closes while the clock is low.
module DCCA(input CLKI, CE, output CLKO);
    reg open;
    always @(negedge CLKI) open <= CE;
    assign CLKO = CLKI && open;
endmodule
