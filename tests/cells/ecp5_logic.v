// The ECP5's logic cells, one expression each. Yosys has models of them too, with many wires a cell:
// of 58,000 cells Verilator makes several gigabytes of them. A test holds these to Yosys'.

module LUT4(input A, B, C, D, output Z);
    parameter [15:0] INIT = 0;
    assign Z = INIT >> {D, C, B, A};
endmodule

module PFUMX(input ALUT, BLUT, C0, output Z);
    assign Z = C0 ? ALUT : BLUT;
endmodule

module L6MUX21(input D0, D1, SD, output Z);
    assign Z = SD ? D1 : D0;
endmodule

// Two bits of an adder: a table gives the sum without the carry that comes in, and the lowest
// quarter of the same table the carry that goes out where that sum does not pass it on.
module CCU2C(input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT);
    parameter [15:0] INIT0 = 0, INIT1 = 0;
    parameter INJECT1_0 = "YES", INJECT1_1 = "YES";
    generate
        if (INJECT1_0 != "NO" || INJECT1_1 != "NO") injection_is_not_modeled injection();
    endgenerate
    wire sum_0 = INIT0 >> {D0, C0, B0, A0}, sum_1 = INIT1 >> {D1, C1, B1, A1};
    wire made_0 = INIT0[3:0] >> {B0, A0}, made_1 = INIT1[3:0] >> {B1, A1};
    wire carry = sum_0 ? CIN : made_0;
    assign S0 = sum_0 ^ CIN;
    assign S1 = sum_1 ^ carry;
    assign COUT = sum_1 ? carry : made_1;
endmodule

module TRELLIS_FF(input CLK, LSR, CE, DI, M, output reg Q);
    parameter CEMUX = "1", CLKMUX = "CLK", LSRMUX = "LSR", GSR = "ENABLED";
    parameter SRMODE = "LSR_OVER_CE", REGSET = "RESET", LSRMODE = "LSR";
    generate
        if (CLKMUX != "CLK" || LSRMUX != "LSR" || LSRMODE != "LSR" || SRMODE != "LSR_OVER_CE"
            || (CEMUX != "1" && CEMUX != "CE" && CEMUX != "INV")) mode_is_not_modeled mode();
    endgenerate
    initial Q = REGSET == "SET";
    always @(posedge CLK)
        if (LSR) Q <= REGSET == "SET";
        else if (CEMUX == "1" || CE == (CEMUX == "CE")) Q <= DI;
endmodule

module TRELLIS_DPR16X4(
    input [3:0] DI, WAD, input WRE, WCK, input [3:0] RAD, output [3:0] DO
);
    parameter WCKMUX = "WCK", WREMUX = "WRE";
    // What the words are at first: nothing that a design here relies on.
    parameter [63:0] INITVAL = 0;
    generate
        if (WCKMUX != "WCK" || WREMUX != "WRE") mode_is_not_modeled mode();
    endgenerate
    reg [3:0] words [0:15];
    always @(posedge WCK) if (WRE) words[WAD] <= DI;
    assign DO = words[RAD];
endmodule
