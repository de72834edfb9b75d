// What a GW2A's block RAM and multiplier do, in the ways that yosys uses them here. Yosys has
// models of the other cells, and for these only their ports.
//
// From Gowin's guides to block RAM (UG285) and to the DSP blocks (UG287).
//
// What is not modeled must not pass for something else: a parameter of another kind instantiates a
// module that does not exist, so Verilator refuses the netlist, and what the guide does not
// define, or an input that should be tied off and is not, makes the output wrong on purpose.

// 16,384 bits, or 18,432 in groups of nine: words of WIDTH bits behind two ports of one clock.
// The address could count single bits, so the wider the word, the more of its lowest bits have no
// meaning; in words of several groups they are the groups' write enables.
module gw2a_block_ram(
    input clock,
    input enable_a, write_a, input [13:0] at_a, input [WIDTH-1:0] data_a, output reg [WIDTH-1:0] q_a,
    input enable_b, write_b, input [13:0] at_b, input [WIDTH-1:0] data_b, output reg [WIDTH-1:0] q_b
);
    parameter WIDTH = 9, GROUP = 9;
    // What a port shows of the word that it writes: 0, what it has shown before; 1, the new one; 2,
    // the old one.
    parameter MODE_A = 0, MODE_B = 0;
    parameter [18431:0] CONTENTS = 0;

    localparam GROUPS = WIDTH <= GROUP ? 1 : WIDTH / GROUP;
    // Words of 1, 2, 4, 8 or 9, 16 or 18, 32 or 36 bits are told apart by bits 13 to LOWEST.
    localparam LOWEST = $clog2(GROUP == 9 ? WIDTH / 9 * 8 : WIDTH);
    generate
        if (WIDTH != (GROUP == 9 ? 9 << (LOWEST - 3) : 1 << LOWEST) || LOWEST > 5) width_is_not_modeled width();
        if (MODE_A > 2 || MODE_B > 2) mode_is_not_modeled mode();
    endgenerate

    reg [WIDTH-1:0] words [0:(1<<(14-LOWEST))-1];
    integer word, i;
    initial for (word = 0; word < 1 << (14-LOWEST); word = word + 1) words[word] = CONTENTS[WIDTH*word+:WIDTH];

    wire [13-LOWEST:0] word_a = at_a[13:LOWEST], word_b = at_b[13:LOWEST];
    wire [GROUPS-1:0] groups_a = !(enable_a && write_a) ? 0 : GROUPS == 1 ? 1 : at_a[GROUPS-1:0];
    wire [GROUPS-1:0] groups_b = !(enable_b && write_b) ? 0 : GROUPS == 1 ? 1 : at_b[GROUPS-1:0];
    reg [WIDTH-1:0] new_a, new_b;
    always @(*) for (i = 0; i < GROUPS; i = i + 1) begin
        new_a[WIDTH/GROUPS*i+:WIDTH/GROUPS] = groups_a[i] ? data_a[WIDTH/GROUPS*i+:WIDTH/GROUPS]
            : words[word_a][WIDTH/GROUPS*i+:WIDTH/GROUPS];
        new_b[WIDTH/GROUPS*i+:WIDTH/GROUPS] = groups_b[i] ? data_b[WIDTH/GROUPS*i+:WIDTH/GROUPS]
            : words[word_b][WIDTH/GROUPS*i+:WIDTH/GROUPS];
    end
    // What a port sees of a word that the other writes is not defined.
    wire same = word_a == word_b;
    always @(posedge clock) begin
        if (groups_a != 0) words[word_a] <= new_a;
        if (groups_b != 0) words[word_b] <= same && groups_a != 0 ? ~new_b : new_b;
        if (enable_a && !(write_a && MODE_A == 0))
            q_a <= same && groups_b != 0 ? ~words[word_a] : write_a && MODE_A == 1 ? new_a : words[word_a];
        if (enable_b && !(write_b && MODE_B == 0))
            q_b <= same && groups_a != 0 ? ~words[word_b] : write_b && MODE_B == 1 ? new_b : words[word_b];
    end
endmodule

`define GW2A_CONTENTS(bits) \
    parameter [bits-1:0] \
        INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0, INIT_RAM_04 = 0, INIT_RAM_05 = 0, \
        INIT_RAM_06 = 0, INIT_RAM_07 = 0, INIT_RAM_08 = 0, INIT_RAM_09 = 0, INIT_RAM_0A = 0, INIT_RAM_0B = 0, \
        INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, INIT_RAM_0F = 0, INIT_RAM_10 = 0, INIT_RAM_11 = 0, \
        INIT_RAM_12 = 0, INIT_RAM_13 = 0, INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0, \
        INIT_RAM_18 = 0, INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0, INIT_RAM_1C = 0, INIT_RAM_1D = 0, \
        INIT_RAM_1E = 0, INIT_RAM_1F = 0, INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, INIT_RAM_23 = 0, \
        INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0, INIT_RAM_28 = 0, INIT_RAM_29 = 0, \
        INIT_RAM_2A = 0, INIT_RAM_2B = 0, INIT_RAM_2C = 0, INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0, \
        INIT_RAM_30 = 0, INIT_RAM_31 = 0, INIT_RAM_32 = 0, INIT_RAM_33 = 0, INIT_RAM_34 = 0, INIT_RAM_35 = 0, \
        INIT_RAM_36 = 0, INIT_RAM_37 = 0, INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0, \
        INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0;

`define GW2A_ALL_CONTENTS { \
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38, \
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30, \
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, \
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20, \
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, \
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, \
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08, \
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00}

// A block RAM shows what it has read at once: no register behind it, no blocks to choose from. The
// mode of a reset, which is tied off, changes nothing.
`define GW2A_PLAIN(registers, selects) \
    parameter RESET_MODE = "SYNC"; \
    generate \
        if ((registers) != 0) register_is_not_modeled register(); \
        if ((selects) != 0) select_is_not_modeled select(); \
    endgenerate

// One port.
`define GW2A_SINGLE(name, width, group) \
module name( \
    input CLK, CE, OCE, RESET, WRE, input [2:0] BLKSEL, input [13:0] AD, \
    input [width-1:0] DI, output [width-1:0] DO \
); \
    parameter READ_MODE = 0, WRITE_MODE = 0, BIT_WIDTH = width, BLK_SEL = 0; \
    `GW2A_CONTENTS(32 * group) \
    `GW2A_PLAIN(READ_MODE, BLK_SEL) \
    wire [BIT_WIDTH-1:0] q; \
    gw2a_block_ram #(.WIDTH(BIT_WIDTH), .GROUP(group), .MODE_A(WRITE_MODE), .CONTENTS(`GW2A_ALL_CONTENTS)) ram( \
        .clock(CLK), .enable_a(CE), .write_a(WRE), .at_a(AD), .data_a(DI[BIT_WIDTH-1:0]), .q_a(q), \
        .enable_b(1'b0), .write_b(1'b0), .at_b(14'd0), .data_b({BIT_WIDTH{1'b0}}), .q_b() \
    ); \
    assign DO = BLKSEL != 0 || RESET ? ~q : q; \
endmodule

`GW2A_SINGLE(SP, 32, 8)
`GW2A_SINGLE(SPX9, 36, 9)

// Port A writes, port B reads.
module SDPX9B(
    input CLKA, CEA, RESETA, input [2:0] BLKSELA, input [13:0] ADA, input [35:0] DI,
    input CLKB, CEB, RESETB, OCE, input [2:0] BLKSELB, input [13:0] ADB, output [35:0] DO
);
    parameter READ_MODE = 0, BIT_WIDTH_0 = 36, BIT_WIDTH_1 = 36, BLK_SEL_0 = 0, BLK_SEL_1 = 0;
    `GW2A_CONTENTS(288)
    `GW2A_PLAIN(READ_MODE, BLK_SEL_0 | BLK_SEL_1)
    generate
        if (BIT_WIDTH_0 != BIT_WIDTH_1) width_is_not_modeled width();
    endgenerate
    wire [BIT_WIDTH_0-1:0] q;
    gw2a_block_ram #(.WIDTH(BIT_WIDTH_0), .CONTENTS(`GW2A_ALL_CONTENTS)) ram(
        .clock(CLKA), .enable_a(CEA), .write_a(1'b1), .at_a(ADA), .data_a(DI[BIT_WIDTH_0-1:0]), .q_a(),
        .enable_b(CEB), .write_b(1'b0), .at_b(ADB), .data_b({BIT_WIDTH_0{1'b0}}), .q_b(q)
    );
    assign DO = BLKSELA != 0 || BLKSELB != 0 || RESETA || RESETB ? ~q : q;
endmodule

// Both ports write and read.
module DPX9B(
    input CLKA, CEA, OCEA, RESETA, WREA, input [2:0] BLKSELA, input [13:0] ADA, input [17:0] DIA, output [17:0] DOA,
    input CLKB, CEB, OCEB, RESETB, WREB, input [2:0] BLKSELB, input [13:0] ADB, input [17:0] DIB, output [17:0] DOB
);
    parameter READ_MODE0 = 0, READ_MODE1 = 0, WRITE_MODE0 = 0, WRITE_MODE1 = 0;
    parameter BIT_WIDTH_0 = 18, BIT_WIDTH_1 = 18, BLK_SEL_0 = 0, BLK_SEL_1 = 0;
    `GW2A_CONTENTS(288)
    `GW2A_PLAIN(READ_MODE0 | READ_MODE1, BLK_SEL_0 | BLK_SEL_1)
    generate
        if (BIT_WIDTH_0 != BIT_WIDTH_1) width_is_not_modeled width();
    endgenerate
    wire [BIT_WIDTH_0-1:0] a, b;
    gw2a_block_ram #(
        .WIDTH(BIT_WIDTH_0), .MODE_A(WRITE_MODE0), .MODE_B(WRITE_MODE1), .CONTENTS(`GW2A_ALL_CONTENTS)
    ) ram(
        .clock(CLKA), .enable_a(CEA), .write_a(WREA), .at_a(ADA), .data_a(DIA[BIT_WIDTH_0-1:0]), .q_a(a),
        .enable_b(CEB), .write_b(WREB), .at_b(ADB), .data_b(DIB[BIT_WIDTH_0-1:0]), .q_b(b)
    );
    wire untied = BLKSELA != 0 || BLKSELB != 0 || RESETA || RESETB;
    assign DOA = untied ? ~a : a;
    assign DOB = untied ? ~b : b;
endmodule

// Products of 9 by 9 and of 18 by 18 bits, each signed or not, and no register between. The shift
// chains (SIA, SIB, ASEL, BSEL) belong to other modes.
`define GW2A_MULTIPLIER(name, bits) \
module name( \
    input [bits-1:0] A, B, SIA, SIB, input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET, \
    output [2*bits-1:0] DOUT, output [bits-1:0] SOA, SOB \
); \
    parameter AREG = 0, BREG = 0, OUT_REG = 0, PIPE_REG = 0, ASIGN_REG = 0, BSIGN_REG = 0, SOA_REG = 0; \
    parameter MULT_RESET_MODE = "SYNC"; \
    generate \
        if ((AREG | BREG | OUT_REG | PIPE_REG | ASIGN_REG | BSIGN_REG | SOA_REG) != 0) register_is_not_modeled register(); \
    endgenerate \
    wire [2*bits-1:0] a = {{bits{ASIGN & A[bits-1]}}, A}; \
    wire [2*bits-1:0] b = {{bits{BSIGN & B[bits-1]}}, B}; \
    wire [2*bits-1:0] product = a * b; \
    assign DOUT = ASEL || BSEL ? ~product : product; \
endmodule

`GW2A_MULTIPLIER(MULT9X9, 9)
`GW2A_MULTIPLIER(MULT18X18, 18)
