;; The filter of deltas.py in the package above, whose words and names these are: the same results, from 16 bytes at a time.
;;
;; Its memory: zeros up to 256, which are what is before the first word; from there on the whole blocks of a body; at the
;; address that the host says, the filtered body, its strides first.
(module
  (memory (export "memory") 1)

  ;; How many words of the block at $at are those $back bytes before; of no bytes before, zero.
  (func $zeros (param $at i32) (param $back i32) (result i32)
    (local $end i32) (local $before i32) (local $count v128)
    (local.set $end (i32.add (local.get $at) (i32.const 1024)))
    (local.set $before (i32.sub (local.get $at) (local.get $back)))
    (if (local.get $back)
      (then
        (loop $vectors
          (local.set $count (i32x4.sub (local.get $count)
            (i32x4.eq (v128.load (local.get $at)) (v128.load (local.get $before)))))
          (local.set $count (i32x4.sub (local.get $count)
            (i32x4.eq (v128.load offset=16 (local.get $at)) (v128.load offset=16 (local.get $before)))))
          (local.set $count (i32x4.sub (local.get $count)
            (i32x4.eq (v128.load offset=32 (local.get $at)) (v128.load offset=32 (local.get $before)))))
          (local.set $count (i32x4.sub (local.get $count)
            (i32x4.eq (v128.load offset=48 (local.get $at)) (v128.load offset=48 (local.get $before)))))
          (local.set $at (i32.add (local.get $at) (i32.const 64)))
          (local.set $before (i32.add (local.get $before) (i32.const 64)))
          (br_if $vectors (i32.lt_u (local.get $at) (local.get $end)))))
      (else
        (loop $vectors
          (local.set $count (i32x4.sub (local.get $count)
            (i32x4.eq (v128.load (local.get $at)) (v128.const i64x2 0 0))))
          (local.set $count (i32x4.sub (local.get $count)
            (i32x4.eq (v128.load offset=16 (local.get $at)) (v128.const i64x2 0 0))))
          (local.set $count (i32x4.sub (local.get $count)
            (i32x4.eq (v128.load offset=32 (local.get $at)) (v128.const i64x2 0 0))))
          (local.set $count (i32x4.sub (local.get $count)
            (i32x4.eq (v128.load offset=48 (local.get $at)) (v128.const i64x2 0 0))))
          (local.set $at (i32.add (local.get $at) (i32.const 64)))
          (br_if $vectors (i32.lt_u (local.get $at) (local.get $end))))))
    (i32.add
      (i32.add (i32x4.extract_lane 0 (local.get $count)) (i32x4.extract_lane 1 (local.get $count)))
      (i32.add (i32x4.extract_lane 2 (local.get $count)) (i32x4.extract_lane 3 (local.get $count)))))

  (global $bar (mut i32) (i32.const 0))  ;; the zeros that are enough

  ;; The stride of the block at $at, in bytes.
  (func $best (param $at i32) (param $previous i32) (result i32)
    (local $back i32) (local $zeros i32) (local $most i32) (local $best i32)
    (if (i32.ge_u (call $zeros (local.get $at) (local.get $previous)) (global.get $bar))
      (then (return (local.get $previous))))
    (local.set $most (i32.const -1))
    (loop $strides
      (local.set $zeros (call $zeros (local.get $at) (local.get $back)))
      (if (i32.gt_s (local.get $zeros) (local.get $most))
        (then
          (local.set $most (local.get $zeros))
          (local.set $best (local.get $back))))
      (local.set $back (i32.add (local.get $back) (i32.const 8)))
      (br_if $strides (i32.le_u (local.get $back) (i32.const 128))))
    (global.set $bar (i32.sub (local.get $most) (i32.const 16)))
    (if (i32.lt_s (global.get $bar) (i32.const 96))
      (then (global.set $bar (i32.const 96))))
    (local.get $best))

  ;; Filters the blocks to $to. Returns the number of blocks.
  (func (export "apply") (param $blocks i32) (param $to i32) (result i32)
    (local $block i32) (local $at i32) (local $end i32) (local $back i32) (local $out i32) (local $other v128)
    (global.set $bar (i32.const 257))
    (local.set $at (i32.const 256))
    (local.set $out (i32.add (local.get $to) (local.get $blocks)))
    (block $done
      (loop $each
        (br_if $done (i32.ge_u (local.get $block) (local.get $blocks)))
        (local.set $back (call $best (local.get $at) (local.get $back)))
        (i32.store8 (i32.add (local.get $to) (local.get $block)) (i32.shr_u (local.get $back) (i32.const 3)))
        (local.set $end (i32.add (local.get $at) (i32.const 1024)))
        (local.set $other (v128.const i64x2 0 0))
        (loop $vectors
          (if (local.get $back)
            (then (local.set $other (v128.load (i32.sub (local.get $at) (local.get $back))))))
          (v128.store (local.get $out) (i32x4.sub (v128.load (local.get $at)) (local.get $other)))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (local.set $out (i32.add (local.get $out) (i32.const 16)))
          (br_if $vectors (i32.lt_u (local.get $at) (local.get $end))))
        (local.set $block (i32.add (local.get $block) (i32.const 1)))
        (br $each)))
    (local.get $blocks))

  ;; Restores the blocks from $from, where the strides are. Returns the number of blocks.
  (func (export "undo") (param $blocks i32) (param $from i32) (result i32)
    (local $block i32) (local $at i32) (local $end i32) (local $back i32) (local $in i32)
    (local.set $at (i32.const 256))
    (local.set $in (i32.add (local.get $from) (local.get $blocks)))
    (block $done
      (loop $each
        (br_if $done (i32.ge_u (local.get $block) (local.get $blocks)))
        (local.set $back (i32.shl (i32.load8_u (i32.add (local.get $from) (local.get $block))) (i32.const 3)))
        (local.set $end (i32.add (local.get $at) (i32.const 1024)))
        (if (i32.ge_u (local.get $back) (i32.const 16))
          (then
            (loop $vectors
              (v128.store (local.get $at)
                (i32x4.add (v128.load (local.get $in)) (v128.load (i32.sub (local.get $at) (local.get $back)))))
              (local.set $at (i32.add (local.get $at) (i32.const 16)))
              (local.set $in (i32.add (local.get $in) (i32.const 16)))
              (br_if $vectors (i32.lt_u (local.get $at) (local.get $end)))))
          (else
            (if (local.get $back)
              (then  ;; two words: a vector would read what it writes
                (loop $words
                  (i32.store (local.get $at)
                    (i32.add (i32.load (local.get $in)) (i32.load (i32.sub (local.get $at) (local.get $back)))))
                  (local.set $at (i32.add (local.get $at) (i32.const 4)))
                  (local.set $in (i32.add (local.get $in) (i32.const 4)))
                  (br_if $words (i32.lt_u (local.get $at) (local.get $end)))))
              (else
                (memory.copy (local.get $at) (local.get $in) (i32.const 1024))
                (local.set $at (i32.add (local.get $at) (i32.const 1024)))
                (local.set $in (i32.add (local.get $in) (i32.const 1024)))))))
        (local.set $block (i32.add (local.get $block) (i32.const 1)))
        (br $each)))
    (local.get $blocks))
)
