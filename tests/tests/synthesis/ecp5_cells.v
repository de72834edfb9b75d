// What the cells of an ECP5 do that yosys makes of the dot array: enough to run
// its netlist, and no more.

module LUT4(input A, B, C, D, output Z);
    parameter [15:0] INIT = 0;
    assign Z = INIT[{D, C, B, A}];
endmodule

module PFUMX(input ALUT, BLUT, C0, output Z);
    assign Z = C0 ? ALUT : BLUT;
endmodule

module L6MUX21(input D0, D1, SD, output Z);
    assign Z = SD ? D1 : D0;
endmodule

// Two bits of an adder: the upper half of each table is the sum without its carry, the
// lower two quarters of it say what carry follows from what came in.
module CCU2C(input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT);
    parameter [15:0] INIT0 = 0, INIT1 = 0;
    parameter INJECT1_0 = "YES", INJECT1_1 = "YES";
    wire sum0 = INIT0[{D0, C0, B0, A0}];
    wire sum1 = INIT1[{D1, C1, B1, A1}];
    wire two0 = INIT0[{2'b00, B0, A0}];
    wire two1 = INIT1[{2'b00, B1, A1}];
    wire gated0 = INJECT1_0 == "YES" ? 1'b0 : CIN;
    wire carry0 = sum0 ? CIN : (INJECT1_0 == "YES" ? 1'b0 : two0);
    wire gated1 = INJECT1_1 == "YES" ? 1'b0 : carry0;
    assign S0 = sum0 ^ gated0;
    assign S1 = sum1 ^ gated1;
    assign COUT = sum1 ? carry0 : (INJECT1_1 == "YES" ? 1'b0 : two1);
endmodule

module TRELLIS_FF(input CLK, LSR, CE, DI, M, output reg Q);
    parameter GSR = "ENABLED", CEMUX = "1", CLKMUX = "CLK", LSRMUX = "LSR";
    parameter SRMODE = "LSR_OVER_CE", REGSET = "RESET", LSRMODE = "LSR";
    wire enable = CEMUX == "CE" ? CE : CEMUX == "INV" ? !CE : CEMUX == "1";
    wire reset = LSRMUX == "INV" ? !LSR : LSR;
    wire value = LSRMODE == "PRLD" ? M : REGSET == "SET";
    wire takes = SRMODE == "LSR_OVER_CE" || enable;
    always @(posedge CLK)
        if (reset && takes) Q <= value;
        else if (enable) Q <= DI;
endmodule

// Without its registers, which yosys leaves in the fabric.
module MULT18X18D(
    input A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
    input B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
    input C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, C14, C15, C16, C17,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    output P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17,
    output P18, P19, P20, P21, P22, P23, P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);
    wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    wire signed [35:0] wide_a = {{18{SIGNEDA & A17}}, a};
    wire signed [35:0] wide_b = {{18{SIGNEDB & B17}}, b};
    wire [35:0] p = wide_a * wide_b;
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
        P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = p;
endmodule
