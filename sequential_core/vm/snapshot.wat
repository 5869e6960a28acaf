;; Takes a guest's memory to a state and back to its image, beside it in one store. Nothing of the guest runs meanwhile.
;;
;; `snapshot` blanks the garbage and writes what differs from the image then, as `plain` of snapshot.py does; it is read
;; beside that and state.py: the names and numbers are theirs. `restore` is `state.runs`, and writes them. `reset` makes
;; the guest's memory the image. heap.wat is the other half of this module, and finds the garbage.
;;
;; An address is one of the guest's memory. $image has the same there, and is as large: behind the image it is zero.
;; In $notes, where the host reads and writes:
;;
;;     0              what heap.wat knows of the image, see `survey`
;;     $flags         a byte for each page of the guest's memory, 1 where it may differ; at least eight more that are 0
;;     $head          for `snapshot`: where its result begins, where it ends
;;     $table         first two words for each range of garbage, where it begins and ends; then for each run, its first
;;                    and its last word; behind that the result, see $write
;;                    for `restore`: the numbers of the index, in four bytes each; the body is behind them
(import "guest" "memory" (memory $guest 1))  ;; what an instruction is about that names no memory
(import "image" "memory" (memory $image 1))
(memory $notes (export "memory") 1)
(global $origin (mut i32) (i32.const 0))  ;; where the C stack ends: what is below is dead
(global $size (mut i32) (i32.const 0))    ;; of the guest's memory, in bytes
(global $flags (mut i32) (i32.const 0))
(global $table (mut i32) (i32.const 0))
(global $runs (mut i32) (i32.const 0))
(global $end (mut i32) (i32.const 0))     ;; of what is written into $notes, or read from it

;; Returns the number of runs.
(func (export "snapshot")
  (param $flags i32) (param $head i32) (param $origin i32) (param $random_state i32) (param $heap_start i32)
  (param $lists i32) (result i32)
  (global.set $flags (local.get $flags))
  (global.set $origin (local.get $origin))
  (global.set $size (i32.shl (memory.size) (i32.const 16)))
  (global.set $table (i32.add (local.get $head) (i32.const 8)))
  (call $blank (local.get $random_state) (i32.add (local.get $random_state) (i32.const 8)))
  (global.set $end (global.get $table))
  (if (call $chunks (local.get $heap_start)) (then (call $blank_garbage)))
  (call $compare)
  (global.set $end (global.get $table))
  (if (call $cells (local.get $lists)) (then (call $blank_garbage)))
  (call $difference)
  (call $write (local.get $head))
  (global.get $runs))

;; Makes every flagged page that of the image.
(func (export "reset") (param $flags i32)
  (local $at i32) (local $stop i32)
  (global.set $flags (local.get $flags))
  (local.set $stop (i32.shl (memory.size) (i32.const 16)))
  (loop $next
    (if (call $flagged (local.get $at))
      (then (memory.copy $guest $image (local.get $at) (local.get $at) (i32.const 4096))))
    (local.set $at (i32.add (local.get $at) (i32.const 4096)))
    (br_if $next (i32.lt_u (local.get $at) (local.get $stop)))))

;; Writes the runs of a body into the guest's memory; returns 0 if it is none, when part of it may be written.
(func (export "restore")
  (param $table i32) (param $count i32) (param $body i32) (param $stop i32) (param $origin i32) (result i32)
  (local $lengths i32) (local $at i32) (local $to i64) (local $gap i32) (local $bytes i64)
  (local.set $lengths (i32.add (local.get $table) (i32.shl (local.get $count) (i32.const 2))))
  (local.set $at (local.get $table))
  (global.set $end (local.get $body))
  (block $read
    (loop $next
      (br_if $read
        (i32.ge_u (local.get $at) (i32.add (local.get $lengths) (i32.shl (local.get $count) (i32.const 2)))))
      (if (i32.eqz (call $read_varint (local.get $at) (local.get $stop))) (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br $next)))
  (local.set $at (local.get $table))
  (local.set $to (i64.extend_i32_u (local.get $origin)))
  (block $done
    (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $lengths)))
      (local.set $gap (i32.load $notes (local.get $at)))
      (local.set $bytes
        (i64.shl (i64.load32_u $notes (i32.add (local.get $at) (i32.shl (local.get $count) (i32.const 2)))) (i64.const 3)))
      (local.set $to (i64.add (local.get $to) (i64.shl (i64.extend_i32_u (local.get $gap)) (i64.const 3))))
      (if (i32.or
            (i32.or
              (i64.eqz (local.get $bytes))
              (i32.and (i32.eqz (local.get $gap)) (i32.gt_u (local.get $at) (local.get $table))))
            (i32.or
              (i64.gt_u (i64.add (local.get $to) (local.get $bytes))
                        (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
              (i64.gt_u (local.get $bytes)
                        (i64.extend_i32_u (i32.sub (local.get $stop) (global.get $end))))))
        (then (return (i32.const 0))))
      (call $put (i32.wrap_i64 (local.get $to)) (global.get $end) (i32.wrap_i64 (local.get $bytes)))
      (global.set $end (i32.add (global.get $end) (i32.wrap_i64 (local.get $bytes))))
      (local.set $to (i64.add (local.get $to) (local.get $bytes)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br $next)))
  (i32.eq (global.get $end) (local.get $stop)))

;; Reads a number at $end and notes it; returns 0 if there is none, or it has more than 32 bits.
(func $read_varint (param $to i32) (param $stop i32) (result i32)
  (local $byte i32) (local $number i32) (local $shift i32)
  (loop $next
    (if (i32.ge_u (global.get $end) (local.get $stop)) (then (return (i32.const 0))))
    (local.set $byte (i32.load8_u $notes (global.get $end)))
    (global.set $end (i32.add (global.get $end) (i32.const 1)))
    (if (i32.and (i32.eq (local.get $shift) (i32.const 28)) (i32.gt_u (local.get $byte) (i32.const 15)))
      (then (return (i32.const 0))))
    (local.set $number
      (i32.or (local.get $number) (i32.shl (i32.and (local.get $byte) (i32.const 127)) (local.get $shift))))
    (local.set $shift (i32.add (local.get $shift) (i32.const 7)))
    (br_if $next (i32.gt_u (local.get $byte) (i32.const 127))))
  (i32.store $notes (local.get $to) (local.get $number))
  (i32.const 1))

;; These copy words. memory.copy leaves WebAssembly, which takes as long as a loop over a hundred bytes.
(func $put (param $to i32) (param $from i32) (param $bytes i32)
  (if (i32.gt_u (local.get $bytes) (i32.const 128))
    (then (memory.copy $guest $notes (local.get $to) (local.get $from) (local.get $bytes)) (return)))
  (loop $next
    (local.set $bytes (i32.sub (local.get $bytes) (i32.const 8)))
    (i64.store
      (i32.add (local.get $to) (local.get $bytes))
      (i64.load $notes (i32.add (local.get $from) (local.get $bytes))))
    (br_if $next (local.get $bytes))))
(func $get (param $to i32) (param $from i32) (param $bytes i32)
  (if (i32.gt_u (local.get $bytes) (i32.const 128))
    (then (memory.copy $notes $guest (local.get $to) (local.get $from) (local.get $bytes)) (return)))
  (loop $next
    (local.set $bytes (i32.sub (local.get $bytes) (i32.const 8)))
    (i64.store $notes
      (i32.add (local.get $to) (local.get $bytes))
      (i64.load (i32.add (local.get $from) (local.get $bytes))))
    (br_if $next (local.get $bytes))))

(func $flagged (param $at i32) (result i32)
  (i32.load8_u $notes (i32.add (global.get $flags) (i32.shr_u (local.get $at) (i32.const 12)))))

(func $blank_garbage
  (local $entry i32)
  (local.set $entry (global.get $table))
  (loop $next
    (if (i32.lt_u (local.get $entry) (global.get $end))
      (then
        (call $blank (i32.load $notes (local.get $entry)) (i32.load $notes offset=4 (local.get $entry)))
        (local.set $entry (i32.add (local.get $entry) (i32.const 8)))
        (br $next)))))

;; Makes a range equal to the image, in its flagged pages: in the others it is.
(func $blank (param $start i32) (param $stop i32)
  (local $end i32)
  (loop $next
    (if (i32.lt_u (local.get $start) (local.get $stop))
      (then
        (local.set $end (i32.add (i32.and (local.get $start) (i32.const -4096)) (i32.const 4096)))
        (if (i32.gt_u (local.get $end) (local.get $stop)) (then (local.set $end (local.get $stop))))
        (if (call $flagged (local.get $start))
          (then (call $erase (local.get $start) (i32.sub (local.get $end) (local.get $start)))))
        (local.set $start (local.get $end))
        (br $next)))))
(func $erase (param $at i32) (param $bytes i32)
  (if (i32.gt_u (local.get $bytes) (i32.const 128))
    (then (memory.copy $guest $image (local.get $at) (local.get $at) (local.get $bytes)) (return)))
  (loop $next
    (i32.store (local.get $at) (i32.load $image (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 4)))
    (local.set $bytes (i32.sub (local.get $bytes) (i32.const 4)))
    (br_if $next (local.get $bytes))))

;; state.changed_pages: takes away the flags of pages that do not differ.
(func $compare
  (local $at i32) (local $stop i32)
  (local.set $stop (global.get $origin))
  (loop $next
    (local.set $at (local.get $stop))
    (local.set $stop (i32.add (local.get $at) (i32.const 4096)))
    (if (call $flagged (local.get $at))
      (then
        (block $found
          (loop $next_block
            (br_if $found (call $block_differs (local.get $at)))
            (local.set $at (i32.add (local.get $at) (i32.const 64)))
            (br_if $next_block (i32.lt_u (local.get $at) (local.get $stop))))
          (i32.store8 $notes
            (i32.add (global.get $flags) (i32.shr_u (i32.sub (local.get $at) (i32.const 1)) (i32.const 12)))
            (i32.const 0)))))
    (br_if $next (i32.lt_u (local.get $stop) (global.get $size)))))

;; state.difference: writes the table of runs.
(func $difference
  (local $at i32) (local $stop i32) (local $pages i32)
  (global.set $runs (i32.const 0))
  (global.set $last (i32.const -4096))  ;; far from any word
  (local.set $stop (global.get $origin))
  (loop $next
    (local.set $at (local.get $stop))
    (local.set $stop (i32.add (local.get $at) (i32.const 4096)))
    (if (call $flagged (local.get $at))
      (then
        (if (i32.eqz (i32.and (local.get $pages) (i32.const 255))) (then (call $begin_portion)))
        (local.set $pages (i32.add (local.get $pages) (i32.const 1)))
        (loop $next_block
          (if (call $block_differs (local.get $at))
            (then
              (call $words_of (local.get $at))
              (call $words_of (i32.add (local.get $at) (i32.const 16)))
              (call $words_of (i32.add (local.get $at) (i32.const 32)))
              (call $words_of (i32.add (local.get $at) (i32.const 48)))))
          (local.set $at (i32.add (local.get $at) (i32.const 64)))
          (br_if $next_block (i32.lt_u (local.get $at) (local.get $stop))))))
    (br_if $next (i32.lt_u (local.get $stop) (global.get $size))))
  (call $end_run))

(func $block_differs (param $at i32) (result i32)
  (v128.any_true (v128.or
    (v128.or
      (v128.xor (v128.load (local.get $at)) (v128.load $image (local.get $at)))
      (v128.xor (v128.load offset=16 (local.get $at)) (v128.load $image offset=16 (local.get $at))))
    (v128.or
      (v128.xor (v128.load offset=32 (local.get $at)) (v128.load $image offset=32 (local.get $at)))
      (v128.xor (v128.load offset=48 (local.get $at)) (v128.load $image offset=48 (local.get $at)))))))

(func $words_of (param $at i32)
  (if (i64.ne (i64.load (local.get $at)) (i64.load $image (local.get $at)))
    (then (call $differs (i32.shr_u (local.get $at) (i32.const 3)))))
  (if (i64.ne (i64.load offset=8 (local.get $at)) (i64.load $image offset=8 (local.get $at)))
    (then (call $differs (i32.add (i32.shr_u (local.get $at) (i32.const 3)) (i32.const 1))))))

;; How wide a gap within a run may be in this portion of 256 pages; and how wide before its first word.
(global $gap (mut i32) (i32.const 0))
(global $first_gap (mut i32) (i32.const 0))
(func $begin_portion
  (global.set $gap (select (i32.const 1) (i32.const 64) (i32.lt_u (global.get $runs) (i32.const 50000))))
  (global.set $first_gap (i32.const 0)))

;; state._add_runs, a word at a time. $last is the last word of the latest run, which stands in the table when that ends.
(global $last (mut i32) (i32.const 0))
(func $differs (param $word i32)
  (local $entry i32)
  (if (i32.le_u (i32.sub (local.get $word) (global.get $last)) (i32.add (global.get $first_gap) (i32.const 1)))
    (then (global.set $last (local.get $word)) (global.set $first_gap (global.get $gap)) (return)))
  (call $end_run)
  (local.set $entry (i32.add (global.get $table) (i32.shl (global.get $runs) (i32.const 3))))
  (i32.store $notes (local.get $entry) (local.get $word))
  (global.set $last (local.get $word))
  (global.set $first_gap (global.get $gap))
  (global.set $runs (i32.add (global.get $runs) (i32.const 1))))

(func $end_run
  (if (global.get $runs)
    (then
      (i32.store $notes
        (i32.add (global.get $table) (i32.sub (i32.shl (global.get $runs) (i32.const 3)) (i32.const 4)))
        (global.get $last)))))

;; state.body: the gaps before all runs, the lengths of all, both as LEB128; the content of all.
(func $write (param $head i32)
  (local $entry i32) (local $last i32) (local $word i32)
  (local.set $last (i32.add (global.get $table) (i32.shl (global.get $runs) (i32.const 3))))
  (global.set $end (local.get $last))
  (i32.store $notes (local.get $head) (local.get $last))
  (local.set $word (i32.shr_u (global.get $origin) (i32.const 3)))
  (local.set $entry (global.get $table))
  (loop $next
    (if (i32.lt_u (local.get $entry) (local.get $last))
      (then
        (call $varint (i32.sub (i32.load $notes (local.get $entry)) (local.get $word)))
        (local.set $word (i32.add (i32.load $notes offset=4 (local.get $entry)) (i32.const 1)))
        (local.set $entry (i32.add (local.get $entry) (i32.const 8)))
        (br $next))))
  (local.set $entry (global.get $table))
  (loop $next
    (if (i32.lt_u (local.get $entry) (local.get $last))
      (then
        (call $varint (call $words (local.get $entry)))
        (local.set $entry (i32.add (local.get $entry) (i32.const 8)))
        (br $next))))
  (local.set $entry (global.get $table))
  (loop $next
    (if (i32.lt_u (local.get $entry) (local.get $last))
      (then
        (call $get
          (global.get $end)
          (i32.shl (i32.load $notes (local.get $entry)) (i32.const 3))
          (i32.shl (call $words (local.get $entry)) (i32.const 3)))
        (global.set $end (i32.add (global.get $end) (i32.shl (call $words (local.get $entry)) (i32.const 3))))
        (local.set $entry (i32.add (local.get $entry) (i32.const 8)))
        (br $next))))
  (i32.store $notes offset=4 (local.get $head) (global.get $end)))

(func $words (param $entry i32) (result i32)
  (i32.add (i32.sub (i32.load $notes offset=4 (local.get $entry)) (i32.load $notes (local.get $entry))) (i32.const 1)))

(func $varint (param $number i32)
  (loop $next
    (if (i32.gt_u (local.get $number) (i32.const 127))
      (then
        (i32.store8 $notes (global.get $end) (i32.or (local.get $number) (i32.const 128)))
        (global.set $end (i32.add (global.get $end) (i32.const 1)))
        (local.set $number (i32.shr_u (local.get $number) (i32.const 7)))
        (br $next))))
  (i32.store8 $notes (global.get $end) (local.get $number))
  (global.set $end (i32.add (global.get $end) (i32.const 1))))
