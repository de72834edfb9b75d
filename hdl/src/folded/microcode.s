; The microprogram of the folded core: one token through all steps, in the
; words of docs/arithmetic.md. A is the accumulator, P the product, N the shift.
;
; Pointers: i reads or writes a vector, j reaches tables, k mantissas and
; angles. The tail has pointers of its own: `scales` (a matrix' rows, or keys, one
; after another) and `source` (a vector). `ld tail` takes its next result; stores to
; vectors and to mantissas saturate, to 16 and 8 bits.

; ---- the stream
.word pending                   ; a choice has not been fed back
.word chosen
.word token                     ; bit 31: nobody wants its logits
; ---- rotary positions: per pair
.word angle_now
.word size                      ; of a head
.word pairs                     ; half of it, 0 without rotation
.word padded                    ; to whole words of mantissas
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
.word mode                      ; of the tail
.word vector                    ; a head in V
.word e
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
.word round_keys 8

    jump reset

; Where each kind of step begins.
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

; The slots that hold a token once this one is stored.
    ld RING_STATE
    jz filling
    ld KEY_GROUPS
    jump filled
filling:
    ld KEY_AT
    add #1
filled:
    st slots

; Sine and cosine of every pair's phase; then the phase moves on.
    ld HEAD
    and #255
    st size
    half
    st pairs
    ld size
    add #7
    and #0xf8
    st padded
    ld HEAD
    and #512
    jnz rotary
    st pairs
    jump steps
rotary:
    ld pairs
    set count
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
    moved

; ----------------------------------------------------------------- the steps

steps:
    first
fetch:
    ld token
    jp wanted
    ld step0
    and #0x8000
    jnz skip
wanted:
    ld #ROWS
    st mode
    ld step0
    and #15
    add #by_kind
    set target
    ret
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
    ld #OFF
    set go
    call row_scales
    add index
    set scales
    call step_shift
    add scale
    st shift
    ld mu
    rol3
    add #ONES                   ; the array multiplies by mu in one place of eight
    st b
    st a
    add #8
    st until
    ld step2.ten
    mul index                   ; its first word
    n 0
    shr
    add step1
    st at
    ld #1
    set words
    ld #0
    set skip
    call residual_step
    ld step0
    and #0x100000               ; add?
    jnz start_row
clear_element:
    ld #0
    st V[i++]
    loop clear_element
    call residual_rows
start_row:
    ld shift
    setn
    ld step0
    and #0x200000
    st high_part                ; gains?
    ld #GAINS
    point k
element:
    ld a
    set with
    ld at
    set from
    ld #OFF
    set go
    ld a
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
    st M[i++]
    loop element
    ld rows
    call count_words
    jump complete

; The norm after the embedding.
normalize:
    call residual_step
    call step_shift
    add root_shift
    set bias
    ld root
    set factor
    ld #RESIDUAL
    call tail_of_vector
normal_element:
    ld tail
    st M[i++]
    loop normal_element
    jump complete

; The step's rows, counted, and i at the residual, whose magnitudes start again.
residual_step:
    ld step3.low
    st rows
residual_again:
    clear
residual_rows:
    ld rows
    set count
    ld #RESIDUAL
    point i
    ret

; Twice the step's first entry of row scales: a byte a row.
row_scales:
    ld step4.low
    st at
    add at
    ret

; The constant part of the step's shift.
step_shift:
    ld step4.high
    and #255
    xor #128
    sub #128
    ret

; Exponent of the vector just written, also the tail's shift.
exponent:
    ld magnitudes
    len
    sub #7
    max #0
    set bias
    ret

; Exponent, mantissas and reciprocal root of a residual just written: e, R, k.
norm:
    ld #X_RESIDUAL_BYTES
    point k
    call residual_rows
    call exponent
    st residual_e
    ld #RESIDUAL
    call encode
    call residual_rows
    ld #0
    mul #0                      ; P = 0
square:
    ld V[i]
    mac V[i++]
    loop square
    ld #RSQRT-16
    st base
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
    call lookup_fine            ; i = u >> 10
    rsb #65536
    st root
    ret

; The vector at A to mantissas X[k++]: sat8(rshr(x, bias)), as many as counted.
encode:
    set source
    ld #1
    set factor
    ld #VECTOR
    set go
encode_element:
    ld tail
    st X[k++]
    loop encode_element
    ret

; The tail takes the vector at A.
tail_of_vector:
    set source
    ld #VECTOR
    set go
    ret

; ------------------------------------------------------------------- lookups

; sin(A), from a phase.
sin:
    st angle_now
    and #0x7fffffff             ; quadrants 1 and 3 run backward:
    sub #0x40000000             ; x = 2^30 - |phase mod 2^31 - 2^30|
    jn rising
    rsb #0
rising:
    add #0x40000000
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

; The table at `base`, between its entries: 10 or 8 bits of fraction in A.
lookup_fine:
    n 10
    mul #1
    and #1023
    jump interpolate
lookup:
    n 8
    mul #1
    and #255
; Entry i = P >> N and the next: T[i] + rshr((T[i+1] - T[i]) * A, N).
interpolate:
    st fraction
    shr
    add base
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
    ld root
    set factor
    ld root_shift
    sub residual_e
    jump pass
no_norm:
    ld #32768
    set factor
    ld #0
    sub residual_e
; The tail's factor is set; A = k - e. Starts array and tail.
pass:
    st shift
    call step_shift
    add shift
    set bias
    call row_scales
    set scales
    ld #0
    set skip
    ld step3.low
    st rows
    st left
    set count
    ld step2.ten
; Array and tail: A words a row, `rows` rows.
run_array:
    st cols
    set words
    ld step1
    set from
    ld mode
    set go
    ld cols
    mul rows
    n 0
    shr
count_words:
    add BUSY
    st BUSY
    jcarry more_words
    ret
more_words:
    ld BUSY_HIGH
    add #1
    st BUSY_HIGH
    ret

; Attention output, or hidden vector, times the step's matrix; onto the residual.
out:
    ld #X_HIDDEN_BYTES
    point k
    ld step2.ten
    rol3
    set count
    call exponent
    st hidden_e
    ld #HIDDEN
    call encode
    ld #X_HIDDEN
    set with
    ld #32768
    set factor
    ld #0
    sub hidden_e
    call pass
    call residual_again
out_row:
    ld tail
    add V[i]
    st M[i++]
    loop out_row
    jump complete

; --------------------------------------------------------------------- heads

query:
    call all_heads
    ld #X_QUERY_BYTES
    st head_at
    ld padded
    st until
    ld #QUERY_SCALES
    st scale_at
query_head:
    call head
    ld scale_at
    point j
    add #1
    st scale_at
    ld code
    st R[j]
    ld head_at
    point k
query_element:
    ld tail
    st X[k++]
    loop query_element
    call next_head
    jnz query_head
    jump skip

key:
    call all_heads
    ld KEY_AT
    mul padded
    ld step6.high
    add KEY_AT
    st scale_at
    ld step5
    rol3
    st head_at
    n 0
    shr
    add head_at
    st head_at
    ld step6.low
    rol3
    st until                    ; bytes from head to head
    ld #1
    st at
key_head:
    call head
    ld scale_at
    point j
    add KEY_GROUPS
    st scale_at
    ld code
    st K[j]
    call store_head
    jnz key_head
    jump skip

value:
    call all_heads
    ld step5
    rol3
    add KEY_AT                  ; eight slots a word
    st head_at
    ld step6.high
    rol3
    st at                       ; bytes from dimension to dimension
    ld step6.low
    rol3
    st until                    ; from head to head
    ld #1
    set factor
    ld #8
    set bias
value_head:
    call encode_head
    ld size
    set count
    call store_head
    jnz value_head
    jump skip

; The tail's mantissas to the wide memory, `at` bytes apart, as many as counted.
store_head:
    ld head_at
    st a
store_element:
    ld a
    set wide
    add at
    st a
    ld tail
    st wide
    loop store_element
next_head:
    ld head_at
    add until
    st head_at
    ld left
    sub size
    st left
    ret

; The results of the step's matrix, head by head and each padded, to V from SCORES on.
all_heads:
    call residual_pass
    ld #SCORES
    st vector
    point i
rows_of_head:
    ld size
    set count
head_row:
    ld tail
    st V[i++]
    loop head_row
    ld padded
    sub size
    jz whole
    set count
    ld #0
pad_head:
    st V[i++]
    loop pad_head
whole:
    ld left
    sub size
    st left
    jnz rows_of_head
    ld rows
    st left
    ret

; The head in V is rotated, and its scale found: leaves code. Then as below.
head:
    ld pairs
    jz rotated
    set count
    n 14
    ld vector
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
    st V[j++]
    ld a                        ; a sin + b cos
    mul sine
    ld b
    mac cosine
    rshr
    st V[j++]
    loop pair
rotated:
    ld vector
    point i
    ld size
    set count
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
    set factor
    ld #96
    jump scaled
mu7:
    ld #146
    set factor
    ld #64
    jump scaled
mu6:
    ld #171
    set factor
    ld #32
    jump scaled
mu5:
    ld #205
    set factor
    ld #0
scaled:
    add e
    st code
    ld e
    add #7
    set bias
; The tail gives the head's mantissas, counted with the padding; then comes the next head.
encode_head:
    ld vector
    call tail_of_vector
    ld padded
    set count
    add vector
    st vector
    ret

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
    rsb shift
    set bias
    ld e
    and #0x60                   ; eight times its multiplier
    half
    half
    add #40
    set factor
    ld step4.low
    set scales
    ld slots
    st rows
    set count
    ld #0
    set skip
    ld #KEYS+SHORT             ; scores have 16 bits
    st mode
    ld step2.ten
    call run_array
    call score_place
    ld #-32768
    st big
slot:
    ld tail
    st V[i++]
    max big
    st big
    loop slot

    add #288                    ; exp2p(max - score) = rshr(T[d % 32], d / 32 + 9)
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
    ld #0
    sub slots
    and #7
    jz weights_padded
    set count
weight_pad:
    ld #0
    st X[k++]
    loop weight_pad
weights_padded:
    ld #RECIP
    st base
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
    call lookup_fine
    rsb #65536
    add #1
    half                        ; rshr(r, 1), which 16 signed bits do not hold
    sub #32768
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
    ld step7.ten
    rol3
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
    add #32768
    set factor
    ld V[i]
    set bias
    ld #SUMS
    st mode
    ld slots
    add #7
    half
    half
    half
    st at                       ; words
    rsb step3.high
    set skip
    ld step3.low
    st rows
    set count
    ld step7.ten
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
mix_row:
    ld tail
    st M[i++]
    loop mix_row
    jump skip

; -------------------------------------------------------------- feed-forward

relu:
    call hidden_pass
relu_row:
    ld tail
    max #0
    st M[i++]
    loop relu_row
    jump skip

; The same as residual_pass, with i at the hidden vector.
hidden_pass:
    clear
    ld #HIDDEN
    point i
    jump residual_pass

; h = g * sigmoid(g) * u; rows of gate and up in turn.
gate_up:
    ld #ROWS+SHORT              ; gate and up have 16 bits
    st mode
    call hidden_pass
    ld rows
    half
    set count
    ld #SIGMOID
    st base
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
    ld tail
    st a
    ld tail
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
    st M[i++]
    loop gate_up_row
    jump skip

; -------------------------------------------------------------------- logits

logits:
    call residual_pass
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
    ld tail
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
    ld index
    set noise
    ld #round_keys
    point j
    ld #8
    set count
    ld SAMPLES
round:
    prng R[j++]
    loop round
    ld random
    len
    rsb #32                     ; n, leading zeros
    st e
    rsb #18
    jn rare
    setn
    ld random
    mul #1
    shr
    jump justified
rare:
    ld e
    add #POWERS-19
    point j
    ld random
    st a
    add a
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
    ld POSITION
    add #1
    st POSITION
    jnz position_moved
    ld POSITION_HIGH
    add #1
    st POSITION_HIGH
position_moved:
    ld KEY_AT
    add #1
    st KEY_AT
    sub KEY_GROUPS
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
    restart
no_restart:
silent:
    ld cycles
    add CYCLES
    st CYCLES
    jcarry more_cycles
finished:
    ld token
    finish
    jn scan
    ld CHOICE
    st output
    jump scan
more_cycles:
    ld CYCLES_HIGH
    add #1
    st CYCLES_HIGH
    jump finished
