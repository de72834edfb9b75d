//! Instances of the iCE40UP5K's multiplier block, SB_MAC16, with its operand
//! and product registers in use.

/// Parameters and unused inputs that both modes share.
const COMMON: &str = ".A_REG(1'b1), .B_REG(1'b1), .C_REG(1'b0), .D_REG(1'b0),
    .TOPADDSUB_LOWERINPUT(2'b00), .TOPADDSUB_UPPERINPUT(1'b0), .TOPADDSUB_CARRYSELECT(2'b00),
    .BOTADDSUB_LOWERINPUT(2'b00), .BOTADDSUB_UPPERINPUT(1'b0), .BOTADDSUB_CARRYSELECT(2'b00), .NEG_TRIGGER(1'b0)";
const IDLE: &str = ".CLK(clock), .C(16'd0), .D(16'd0), .AHOLD(1'b0), .BHOLD(1'b0), .CHOLD(1'b0), .DHOLD(1'b0),
    .IRSTTOP(1'b0), .IRSTBOT(1'b0), .ORSTTOP(1'b0), .ORSTBOT(1'b0), .OLOADTOP(1'b0), .OLOADBOT(1'b0),
    .ADDSUBTOP(1'b0), .ADDSUBBOT(1'b0), .OHOLDTOP(1'b0), .OHOLDBOT(1'b0), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0)";

/// `o <= a * b` of 16 by 16 bits while `enable` is set: `a` signed or not, `b` unsigned.
pub fn sixteen(name: &str, enable: &str, signed: bool, a: &str, b: &str, o: &str) -> String {
    let signed = u8::from(signed);
    instance(
        name,
        &format!(
            ".MODE_8x8(1'b0), .A_SIGNED(1'b{signed}), .B_SIGNED(1'b0), .TOP_8x8_MULT_REG(1'b0), .BOT_8x8_MULT_REG(1'b0),
    .PIPELINE_16x16_MULT_REG1(1'b0), .PIPELINE_16x16_MULT_REG2(1'b1), .TOPOUTPUT_SELECT(2'b11), .BOTOUTPUT_SELECT(2'b11)"
        ),
        enable,
        (a, b, o),
    )
}

/// Two signed products of 8 by 8 bits: the high bytes' in the high half of `o`.
pub fn eights(name: &str, a: &str, b: &str, o: &str) -> String {
    let mode = ".MODE_8x8(1'b1), .A_SIGNED(1'b1), .B_SIGNED(1'b1), .TOP_8x8_MULT_REG(1'b1), .BOT_8x8_MULT_REG(1'b1),
    .PIPELINE_16x16_MULT_REG1(1'b0), .PIPELINE_16x16_MULT_REG2(1'b0), .TOPOUTPUT_SELECT(2'b10), .BOTOUTPUT_SELECT(2'b10)";
    instance(name, mode, "1'b1", (a, b, o))
}

fn instance(name: &str, mode: &str, enable: &str, (a, b, o): (&str, &str, &str)) -> String {
    format!("SB_MAC16 #({mode},\n    {COMMON}) {name} (\n    .A({a}), .B({b}), .O({o}), .CE({enable}), {IDLE});\n")
}
