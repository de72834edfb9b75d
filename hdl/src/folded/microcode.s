; The microprogram of the folded core: one token through all steps, in the
; words of docs/arithmetic.md. A is the accumulator, P the product, N the shift.
;
; Pointers: i reads or writes a vector, j reaches tables, k mantissas and
; angles, l scales (a matrix' rows one after another).

; ---- the stream
.word pending                   ; a choice has not been fed back
.word chosen
.word token                     ; bit 31: nobody wants its logits
.word words_done                ; words the array took for this token
; ---- rotary positions: per pair
.word angle_now
.word size                      ; of a head
.word pairs                     ; half of it, 0 without rotation
; ---- lookups
.word fraction
.word mask
.word base
.word low
; ---- the current step
.word shift
.word cols
.word rows
.word at
.word until
.word index
.word left                      ; rows or slots to come
.word sum_of_p
.word big
.word a
.word b
.word sine
.word cosine
.word code                      ; of mu, times 32
.word rc
.word e
.word multiplier 4              ; of a row, by the mu of its scale
.word embed_with 4 = ONES, ONES+8, ONES+16, ONES+24
; ---- statistics of the vectors
.word root
.word root_shift
.word high_part
.word residual_e
.word hidden_e
; ---- rings
.word head_at
.word scale_at
.word slots
; ---- the sampler
.word best
.word noise_x
.word noise_y
.word round_keys 8

; A matrix row's result y = rshr(sum * M16, base + s), M16 by the row's mu.
.macro result
    ld shift
    add S[l++]
    setn
    ld sum
    mul multiplier[mu]
    rshr
.end

reset:
    ld #0
    st pending

; ---------------------------------------------------------------- the stream

idle:
    rest                        ; until something happens
scan:
    jinput take                 ; queued tokens go first
    ld pending                  ; then the core's own choice, while
    jz idle
    jstopped idle               ; the stop token has not come,
    jfull idle                  ; its choice has room
    ld BUDGET                   ; and the budget lasts
    jz idle
    sub #1
    st BUDGET
    ld chosen
    jump begin
take:
    ld input
    jn taken                    ; without logits it needs no room
    jfull idle
taken:
    pop
begin:
    start
    st token
    ld #0
    st pending
    st words_done

; Sine and cosine of every pair's phase; then the phase moves on.
    ld HEAD
    and #255
    st size
    half
    st pairs
    ld HEAD
    and #512
    jnz rotary
    st pairs
    jump steps
rotary:
    ld #phase
    point i
    ld pairs
    set count
    jfresh zero_phase
    jump angles
zero_phase:
    ld #0
    st R[i++]
    loop zero_phase
    ld pairs
    set count
angles:
    ld #phase
    point i
    ld #increment
    point k
    ld #angle
    point l
    ld #SINE
    st base
angle_of_pair:
    ld R[i]
    call sin
    st R[l++]
    ld R[i]
    add #0x40000000
    call sin
    st R[l++]
    ld R[i]
    add R[k++]
    st R[i++]
    loop angle_of_pair

; ----------------------------------------------------------------- the steps

steps:
    first
fetch:
    ld step0
    and #0x4000                 ; for sinks only
    jnz skip
    ld token
    jp wanted
    ld step0
    and #0x8000
    jnz skip
wanted:
    ld step0
    and #15
    add #by_kind
    set target
    ret
by_kind:
    jump done
    jump embed
    jump normalize
    jump query
    jump key
    jump value
    jump scores
    jump mix
    jump out
    jump gate_up
    jump relu
    jump out
    jump logits
    jump unknown
    jump unknown
unknown:
    bad
    jump done
complete:
    call norm
skip:
    next
    jump fetch

; ------------------------------------------------------------------ embedding

embed:
    ld step0
    and #0x80000                ; by position?
    jz by_token
    ld POSITION
    and POSITION_MASK
    jump row_known
by_token:
    ld token
    and #0xffff
row_known:
    st index
    ld step4                    ; its scale: N, and mu
    and #0xffff
    st at
    add at
    add index
    point l
    call step_shift
    add S[l]
    setn
    st shift
    ld embed_with[mu]           ; the array multiplies by mu in one place of eight
    st b
    st a
    add #8
    st until
    ld step2
    and #1023
    mul index                   ; its first word
    n 0
    shr
    add step1
    and #0xfffff
    st at
    ld #1
    set words
    ld #0
    set skip
    call residual_pointers
    ld step0
    and #0x100000               ; add?
    jnz start_row
clear_element:
    ld #0
    st V[i++]
    loop clear_element
    call residual_pointers
start_row:
    ld shift
    setn
    ld step0
    and #0x200000
    st high_part                ; gains?
    ld #GAINS
    point k
element:
    ld at
    set from
    ld a
    set with
    set go
    add #1
    st a
    sub until
    jnz same_word
    ld b
    st a
    ld at
    add #1
    st at
same_word:
    ld high_part
    jz no_gain
    ld sum
    mul V[k++]
    jump embedded
no_gain:
    ld sum
    mul #256
embedded:
    rshr
    add V[i]
    sat16
    st M[i++]
    loop element
    ld words_done
    add rows
    st words_done
    jump complete

; The norm after the embedding.
normalize:
    call residual_pointers
    call step_shift
    add root_shift
    setn
normal_element:
    ld root
    mul V[i]
    rshr
    sat16
    st M[i++]
    loop normal_element
    jump complete

; The step's rows, counted, and i at the residual.
residual_pointers:
    clear
    ld step3
    and #0x3fff
    st rows
    set count
    ld #RESIDUAL
    point i
    ret

; The constant part of the step's shift.
step_shift:
    ld step4
    high
    and #255
    xor #128
    sub #128
    ret

; Exponent, mantissas and reciprocal root of a residual just written: e, R, k.
norm:
    ld #X_RESIDUAL_BYTES
    point k
    ld magnitudes
    len
    sub #7
    max #0
    st residual_e
    setn
    ld rows
    set count
    ld #RESIDUAL
    point i
    call encode
    ld rows
    set count
    ld #RESIDUAL
    point i
    ld #0
    mul #0                      ; P = 0
square:
    ld V[i]
    mac V[i++]
    loop square
    ld step0
    and #0x40000                ; the embedding's epsilon?
    jz plain_eps
    ld EMBEDDING_EPS
    jump add_eps
plain_eps:
    ld EPS
add_eps:
    mac #1                      ; t
    n 16
    shr
    jz short_t
    len
    add #16
    jump sized
short_t:
    n 0
    shr
    len
sized:
    sub #1
    half
    st root_shift               ; k = (len(t) - 1) >> 1
    add root_shift
    sub #14                     ; s = 2k - 14
    jn small_t
    setn
    shr
    jump u_known
small_t:
    rsb #0
    add #POWERS
    point j
    n 0
    shr
    mul T[j]
    shr
u_known:
    n 10                        ; i = u >> 10
    mul #1
    and #1023
    st fraction
    shr
    add #RSQRT-16
    call interpolate
    rsb #65536
    st root
    ret

; V[i++] to mantissas X[k++]: sat8(rshr(x, N)).
encode:
    ld V[i++]
    mul #1
    rshr
    sat8
    st X[k++]
    loop encode
    ret

; ------------------------------------------------------------------- lookups

; sin(A), from a phase.
sin:
    st angle_now
    and #0x40000000             ; quadrants 1 and 3 run backward
    jz rising
    ld angle_now
    and #0x3fffffff
    rsb #0x40000000
    jump folded
rising:
    ld angle_now
    and #0x3fffffff
folded:
    high                        ; i << 8 | f
    call lookup
    st low
    ld angle_now
    jn lower_half
    ld low
    ret
lower_half:
    ld #0
    sub low
    ret

; The table at `base`, between its entries: 8 bits of fraction in A.
lookup:
    n 8
    mul #1
    and #255
    st fraction
    shr
    add base
; Entry A and the next: T[A] + rshr((T[A+1] - T[A]) * fraction, N).
interpolate:
    point j
    ld T[j++]
    st low
    rsb T[j]
    mul fraction
    rshr
    add low
    ret

; ------------------------------------------------------------ matrix products

; Residual times the step's matrix, with or without its norm.
residual_pass:
    ld #X_RESIDUAL
    set with
    ld step0
    and #0x10000                ; normed?
    jz no_norm
    ld root_shift
    sub residual_e
    st shift
    ld root
    jump pass
no_norm:
    ld #0
    sub residual_e
    st shift
    ld #32768
; A = R, shift = k - e: multipliers, shift and the array.
pass:
    n 3
    st a
    mul #5
    rshr
    st multiplier[0]
    ld a
    mul #6
    rshr
    st multiplier[1]
    ld a
    mul #7
    rshr
    st multiplier[2]
    ld a
    mul #8
    rshr
    st multiplier[3]
    call step_shift
    add shift
    st shift
    ld step4                    ; two rows an entry of the scales
    and #0xffff
    st at
    add at
    point l
    ld #0
    set skip
    ld step3
    and #0x3fff
    st rows
    set count
    ld step2
    and #1023
; The array: A words a row, `rows` rows.
run_array:
    st cols
    set words
    ld step1
    and #0xfffff
    set from
    set go
    ld cols
    mul rows
    n 0
    shr
    add words_done
    st words_done
    ret

; Attention output, or hidden vector, times the step's matrix; onto the residual.
out:
    ld magnitudes
    len
    sub #7
    max #0
    st hidden_e
    setn
    ld step2
    and #1023
    mul #8
    ld #HIDDEN
    point i
    ld #X_HIDDEN_BYTES
    point k
    n 0
    shr
    set count
    ld hidden_e
    setn
    call encode
    ld #0
    sub hidden_e
    st shift
    ld #X_HIDDEN
    set with
    ld #32768
    call pass
    clear
    ld #RESIDUAL
    point i
out_row:
    result
    add V[i]
    sat16
    st M[i++]
    loop out_row
    jump complete

; --------------------------------------------------------------------- heads

query:
    call residual_pass
    ld rows
    st left
    ld #X_QUERY_BYTES
    st head_at
    ld #QUERY_SCALES
    st scale_at
query_head:
    call head
    ld scale_at
    point j
    add #1
    st scale_at
    ld e
    add code
    st R[j]
    ld head_at
    point k
query_element:
    ld V[i++]
    mul rc
    rshr
    sat8
    st X[k++]
    loop query_element
    ld size
    call padding
    jz query_padded
    set count
query_pad:
    ld #0
    st X[k++]
    loop query_pad
query_padded:
    ld size
    add cols                    ; cols = padding
    add head_at
    st head_at
    ld left
    sub size
    st left
    jnz query_head
    jump skip

key:
    call residual_pass
    ld rows
    st left
    ld size
    call padding
    add size
    st at                       ; bytes of a head
    ld KEY_AT
    and #0xffff
    st index
    mul at
    n 0
    shr
    st head_at
    ld step5
    and #0xfffff
    mul #8
    shr
    add head_at
    st head_at
    ld step6
    high
    add index
    st scale_at
    ld step6
    and #0xffff
    mul #8
    shr
    st until                    ; bytes from head to head
key_head:
    call head
    ld scale_at
    point j
    ld KEY_GROUPS
    and #0xffff
    add scale_at
    st scale_at
    ld e
    add code
    st K[j]
    ld head_at
    st a
key_element:
    ld V[i++]
    mul rc
    ld a
    set wide
    add #1
    st a
    rshr
    sat8
    st wide
    loop key_element
    ld cols
    jz key_padded
    set count
key_pad:
    ld a
    set wide
    add #1
    st a
    ld #0
    st wide
    loop key_pad
key_padded:
    ld head_at
    add until
    st head_at
    ld left
    sub size
    st left
    jnz key_head
    jump skip

; cols = elements that pad a vector of A to a multiple of eight.
padding:
    rsb #0
    and #7
    st cols
    ret

; One head: its results, rotated, to V from SCORES on; then its scale. Leaves e,
; code, rc, N, the count and i for its mantissas.
head:
    ld size
    set count
    ld #SCORES
    point i
head_row:
    result
    sat16
    st V[i++]
    loop head_row
    ld pairs
    jz rotated
    set count
    n 14
    ld #SCORES
    point i
    point j
    ld #angle
    point k
pair:
    ld V[i++]
    st a
    ld V[i++]
    st b
    ld R[k++]
    st sine
    ld R[k++]
    st cosine
    mul a                       ; a cos - b sin
    ld #0
    sub b
    mac sine
    rshr
    sat16
    st V[j++]
    ld a                        ; a sin + b cos
    mul sine
    ld b
    mac cosine
    rshr
    sat16
    st V[j++]
    loop pair
rotated:
    ld size
    set count
    ld #SCORES
    point i
    ld #0
    st big
largest:
    ld V[i++]
    magnitude
    max big
    st big
    loop largest
    len
    sub #7
    max #0
    st e
    jz exact
    ld big
    mul #8
    ld #0xffffffff
    mac #1                      ; 8 M - 1
    ld e
    setn
    shr
    sub #635                    ; 127 * 5
    jn mu5
    sub #127
    jn mu6
    sub #127
    jn mu7
exact:
    ld #128
    st rc
    ld #96
    jump scaled
mu7:
    ld #146
    st rc
    ld #64
    jump scaled
mu6:
    ld #171
    st rc
    ld #32
    jump scaled
mu5:
    ld #205
    st rc
    ld #0
scaled:
    st code
    ld size
    set count
    ld #SCORES
    point i
    ld e
    add #7
    setn
    ret

value:
    call residual_pass
    ld rows
    st left
    ld VALUE_AT
    and #0xffff
    add step5
    and #0xfffff
    mul #8
    n 0
    shr
    st head_at
    ld VALUE_AT
    high
    add head_at
    st head_at                  ; (ring + group) * 8 + column
    ld step6
    high
    mul #8
    shr
    st at                       ; bytes from dimension to dimension
    ld step6
    and #0xffff
    mul #8
    shr
    st until                    ; from head to head
value_head:
    ld size
    set count
    ld head_at
    st a
value_row:
    result
    sat16
    mul #1
    n 8
    ld a
    set wide
    add at
    st a
    rshr
    sat8
    st wide
    loop value_row
    ld head_at
    add until
    st head_at
    ld left
    sub size
    st left
    jnz value_head
    jump skip

; ----------------------------------------------------------------- attention

; One head's scores, and at once its probabilities: to mantissas, with
; multiplier and shift of the mix in place of the first two scores.
scores:
    ld step7                    ; the query's words
    mul #1
    n 21
    shr
    and #1023
    add #X_QUERY
    set with
    n 13                        ; its scale
    shr
    and #255
    add #QUERY_SCALES
    point j
    call step_shift
    st shift
    ld R[j]
    st e
    and #31
    st a
    ld shift
    sub a
    st shift
    ld e
    n 5
    mul #1
    shr
    add #5
    st a
    n 0
    mul #5
    shr
    st multiplier[0]
    ld a
    mul #6
    shr
    st multiplier[1]
    ld a
    mul #7
    shr
    st multiplier[2]
    ld a
    mul #8
    shr
    st multiplier[3]
    ld RING_STATE               ; slots that have been written
    and #1
    jz filling
    ld KEY_GROUPS
    and #0xffff
    jump slots_known
filling:
    ld KEY_AT
    and #0xffff
    add #1
slots_known:
    st slots
    st rows
    set count
    ld #0
    set skip
    ld step2
    and #1023
    call run_array
    ld step4
    and #0xffff
    point l
    call score_place
    ld #-32768
    st big
slot:
    ld shift
    sub K[l++]
    setn
    ld sum
    mul multiplier[mu]
    rshr
    sat16
    st V[i++]
    max big
    st big
    loop slot

    ld big                      ; exp2p(max - score) = rshr(T[d % 32], d / 32 + 9)
    add #288
    st big
    ld slots
    set count
    ld #0
    st sum_of_p
    call score_place
probability:
    ld big
    sub V[i++]
    point5 j
    setn5
    sub #544
    jp no_weight
    ld T[j]
    mul #1
    rshr
    jump weighed
no_weight:
    ld #0
weighed:
    st X[k++]
    add sum_of_p
    st sum_of_p
    loop probability
    ld slots
    call padding
    jz weights_padded
    set count
weight_pad:
    ld #0
    st X[k++]
    loop weight_pad
weights_padded:
    ld sum_of_p                 ; 1 / Z
    len
    sub #1
    st at                       ; z
    sub #15
    jn short_sum
    setn
    ld sum_of_p
    mul #1
    shr
    jump sum_justified
short_sum:
    rsb #0
    add #POWERS
    point j
    ld sum_of_p
    mul T[j]
    n 0
    shr
sum_justified:
    and #0x7fff
    n 10
    mul #1
    and #1023
    st fraction
    shr
    add #RECIP
    call interpolate
    rsb #65536
    add #1
    half                        ; rshr(r, 1)
    st a
    call score_place
    ld a
    st V[i++]
    ld at
    add #7
    st V[i]
    jump skip

; i and k at the scores and the probabilities of the step's head.
score_place:
    ld step7
    and #1023
    mul #8
    n 0
    shr
    st e
    add #SCORES
    point i
    ld #X_WEIGHTS_BYTES
    add e
    point k
    ret

; One head's probabilities against its values, to the attention output.
mix:
    call score_place
    ld V[i++]
    and #0xffff
    st a
    ld V[i]
    st b
    ld RING_STATE
    and #1
    jz filling_values
    ld VALUE_GROUPS
    and #0xffff
    jump words_known
filling_values:
    ld VALUE_AT
    and #0xffff
    add #1
words_known:
    st at
    ld step3
    high
    sub at
    set skip
    ld step3
    and #0x3fff
    st rows
    set count
    ld step7
    and #1023
    add #X_WEIGHTS
    set with
    ld at
    call run_array
    ld step7
    mul #1
    n 20
    shr
    and #2046
    jnz later_head
    clear
later_head:
    add #HIDDEN
    point i
    ld b
    setn
mix_row:
    ld sum
    mul a
    rshr
    sat16
    st M[i++]
    loop mix_row
    jump skip

; -------------------------------------------------------------- feed-forward

relu:
    call residual_pass
    call hidden_pointer
relu_row:
    result
    sat16
    max #0
    st M[i++]
    loop relu_row
    jump skip

hidden_pointer:
    clear
    ld #HIDDEN
    point i
    ret

; h = g * sigmoid(g) * u; rows of gate and up in turn.
gate_up:
    call residual_pass
    call hidden_pointer
    ld rows
    half
    set count
    ld step4                    ; bits of the sigmoid's fraction
    mul #1
    n 24
    shr
    and #15
    sub #2
    st left
    add #POWERS
    point j
    ld step1                    ; of the product's
    mul #1
    n 20
    shr
    and #31
    st until
    ld T[j]
    sub #1
    st mask
    ld T[j]
    mul #32
    n 0
    shr
    rsb #0
    st at                       ; -32, where the table ends
gate_up_row:
    result
    sat16
    st a
    result
    sat16
    st b
    ld left
    setn
    ld a
    jn falling
    rsb #0
falling:
    max at
    rsb #0                      ; |g|, within the table
    mul #1
    and mask
    st fraction
    shr
    add #SIGMOID
    call interpolate
    st e
    ld a
    jp above
    ld #65536
    sub e
    jump sigmoid_known
above:
    ld e
sigmoid_known:
    mul a
    n 16
    rshr
    mul b
    ld until
    setn
    rshr
    sat16
    st M[i++]
    loop gate_up_row
    jump skip

; -------------------------------------------------------------------- logits

logits:
    call residual_pass
    ld rows
    st left
    ld #0
    st index
    point k
    ld #0xc0000000              ; below every logit
    st best
    ld #GUMBEL
    st base
    ld TEMPERATURE
    jz logit
    ld #round_keys              ; k0, k1 + 1, k0 + 2, ...
    point j
    ld #0
    st a
    ld #4
    set count
round_key:
    ld KEY0
    add a
    st R[j++]
    ld a
    add #1
    st a
    ld KEY1
    add a
    st R[j++]
    ld a
    add #1
    st a
    loop round_key
logit:
    result
    sat24
    st L[k++]
    crc
    st b
    ld TEMPERATURE
    jnz perturb
    ld b
compare:
    st a
    rsb best
    jp not_better
    ld a
    st best
    ld index
    st CHOICE
not_better:
    ld index
    add #1
    st index
    sub left
    jnz logit
    jump skip

; logit / T plus noise: prng, then gumbel.
perturb:
    ld SAMPLES
    st noise_x
    ld index
    st noise_y
    ld #round_keys
    point j
    ld #8
    set count
    ld noise_x
round:
    ror8
    add noise_y
    xor R[j++]
    st noise_x
    ld noise_y
    rol3
    xor noise_x
    st noise_y
    ld noise_x
    loop round
    ld noise_y
    len
    rsb #32                     ; n, leading zeros
    st e
    rsb #18
    jn rare
    setn
    ld noise_y
    mul #1
    shr
    jump justified
rare:
    ld e
    add #POWERS-19
    point j
    ld noise_y
    add noise_y
    add #1
    mul T[j]
    n 0
    shr
justified:
    and #0x1fff                 ; i << 8 | f
    st a
    ld #7                       ; seg = min(n, 7)
    sub e
    max #0
    mul #0x2000
    n 0
    shr
    add a
    call lookup
    sub #8192
    st a
    ld e
    sub #7
    max #0
    mul #2048
    n 0
    shr
    add a
    st a
    ld b                        ; rshr(logit * IT, 11)
    mul TEMPERATURE
    n 11
    rshr
    add a
    jump compare

; ------------------------------------------------------------ after the token

done:
    ld TOKENS
    add #1
    st TOKENS
    ld words_done
    add BUSY
    st BUSY
    jcarry more_busy
    jump busy_counted
more_busy:
    ld BUSY_HIGH
    add #1
    st BUSY_HIGH
busy_counted:
    ld POSITION
    add #1
    st POSITION
    jnz position_moved
    ld POSITION_HIGH
    add #1
    st POSITION_HIGH
position_moved:
    ld KEY_GROUPS
    and #0xffff
    st a
    ld KEY_AT
    add #1
    st KEY_AT
    sub a
    jz wrap
    ld VALUE_AT
    add #0x10000
    st VALUE_AT
    and #0x80000                ; the word of eight is full
    jz slot_moved
    ld VALUE_AT
    add #1
    and #0xffff
    st VALUE_AT
    jump slot_moved
wrap:
    st KEY_AT
    st VALUE_AT
    ld #1
    st RING_STATE
slot_moved:
    ld token
    jn silent
    ld SAMPLES
    add #1
    st SAMPLES
    ld #1
    st pending
    ld CHOICE
    st chosen
    ld STOP
    jp no_stop
    and #0xffff
    sub CHOICE
    jnz no_stop
    stop
no_stop:
    ld RESTART
    jp no_restart
    and #0xffff
    sub CHOICE
    jnz no_restart
    st POSITION
    st POSITION_HIGH
    st RING_STATE
    st KEY_AT
    st VALUE_AT
    fresh
no_restart:
    call count_cycles
    ld CHOICE
    finish
    st output
    jump scan
silent:
    call count_cycles
    finish
    jump scan

count_cycles:
    ld cycles
    add CYCLES
    st CYCLES
    jcarry more_cycles
    ret
more_cycles:
    ld CYCLES_HIGH
    add #1
    st CYCLES_HIGH
    ret
