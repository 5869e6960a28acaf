;; A snapshot: blanks the garbage in a copy of a guest's memory, and writes what differs from the image then.
;;
;; It computes what `plain` of snapshot.py does, and is read beside that and heap.py: the names and numbers are theirs.
;; Its memory, where offsets are those of the memory behind the C stack:
;;
;;     0              a page of zeros: what the image is behind its end
;;     4096           the image
;;     $copy          $size bytes: the image and then zeros, but for the pages that the host has put there
;;     $head          where the rest is: where the result begins, where it ends
;;     $flags         a byte for each page of the copy, 1 where the host has put one; and at least eight more
;;     $table         first two words for each range of garbage, where it begins and ends; then for each run, its first
;;                    and its last word
;;     behind that    the result, see $write
;;
;; Between two snapshots the copy is the image, and all behind the image in it is zero: `reset` restores that.
(module
  (memory (export "memory") 1)
  (global $base (mut i32) (i32.const 0))  ;; bytes of the image
  (global $copy (mut i32) (i32.const 0))
  (global $size (mut i32) (i32.const 0))
  (global $head (mut i32) (i32.const 0))
  (global $flags (mut i32) (i32.const 0))
  (global $table (mut i32) (i32.const 0))
  (global $runs (mut i32) (i32.const 0))
  (global $end (mut i32) (i32.const 0))   ;; of what is written behind $flags
  (global $most (mut i32) (i32.const 0))  ;; the highest that it was

  ;; Returns the number of runs.
  (func (export "snapshot")
    (param $base_bytes i32) (param $memory_bytes i32) (param $random_state i32)
    (param $heap_start i32) (param $lists i32) (param $origin i32) (result i32)
    (global.set $base (local.get $base_bytes))
    (global.set $size (local.get $memory_bytes))
    (global.set $copy (i32.add (global.get $base) (i32.const 4096)))
    (global.set $head (i32.add (global.get $copy) (global.get $size)))
    (global.set $flags (i32.add (global.get $head) (i32.const 8)))
    (global.set $table
      (i32.and (i32.add (i32.add (global.get $flags) (i32.shr_u (global.get $size) (i32.const 12))) (i32.const 15))
               (i32.const -8)))
    (call $blank (local.get $random_state) (i32.add (local.get $random_state) (i32.const 8)))
    (global.set $most (global.get $table))
    (global.set $end (global.get $table))
    (if (call $chunks (local.get $heap_start)) (then (call $blank_garbage)))
    (call $compare)
    (global.set $end (global.get $table))
    (if (call $cells (local.get $lists) (local.get $origin)) (then (call $blank_garbage)))
    (call $difference)
    (call $write)
    (global.get $runs))

  ;; Leaves the copy as the image, and all behind it zero.
  (func (export "reset")
    (call $blank (i32.const 0) (global.get $size))
    (memory.fill (global.get $head) (i32.const 0) (i32.sub (global.get $most) (global.get $head))))

  (func $flagged (param $offset i32) (result i32)
    (i32.load8_u (i32.add (global.get $flags) (i32.shr_u (local.get $offset) (i32.const 12)))))

  ;; Notes a range, if the host may have put a page there.
  (func $garbage (param $start i32) (param $stop i32)
    (if (i32.ge_u (local.get $start) (local.get $stop)) (then (return)))
    (if (i32.eqz (i32.or
          (i32.or (call $flagged (local.get $start)) (call $flagged (i32.sub (local.get $stop) (i32.const 1))))
          (i32.ge_u (i32.sub (local.get $stop) (local.get $start)) (i32.const 4096))))
      (then (return)))
    (i32.store (global.get $end) (local.get $start))
    (i32.store offset=4 (global.get $end) (local.get $stop))
    (call $wrote (i32.add (global.get $end) (i32.const 8))))

  (func $wrote (param $end i32)
    (global.set $end (local.get $end))
    (if (i32.gt_u (local.get $end) (global.get $most)) (then (global.set $most (local.get $end)))))

  (func $blank_garbage
    (local $entry i32)
    (local.set $entry (global.get $table))
    (loop $next
      (if (i32.lt_u (local.get $entry) (global.get $end))
        (then
          (call $blank (i32.load (local.get $entry)) (i32.load offset=4 (local.get $entry)))
          (local.set $entry (i32.add (local.get $entry) (i32.const 8)))
          (br $next)))))

  ;; Makes a range of the copy equal to the image, where the host has put pages: the others are it.
  (func $blank (param $start i32) (param $stop i32)
    (local $end i32)
    (loop $next
      (if (i32.lt_u (local.get $start) (local.get $stop))
        (then
          (local.set $end (i32.add (i32.and (local.get $start) (i32.const -4096)) (i32.const 4096)))
          (if (i32.gt_u (local.get $end) (local.get $stop)) (then (local.set $end (local.get $stop))))
          (if (call $flagged (local.get $start))
            (then (call $move
              (i32.add (global.get $copy) (local.get $start))
              (call $image (local.get $start))
              (i32.sub (local.get $end) (local.get $start)))))
          (local.set $start (local.get $end))
          (br $next)))))

  ;; Copies some words of four bytes. memory.copy leaves WebAssembly, which takes as long as a loop over a hundred bytes.
  (func $move (param $to i32) (param $from i32) (param $bytes i32)
    (if (i32.gt_u (local.get $bytes) (i32.const 128))
      (then (memory.copy (local.get $to) (local.get $from) (local.get $bytes)) (return)))
    (loop $next
      (local.set $bytes (i32.sub (local.get $bytes) (i32.const 4)))
      (i32.store (i32.add (local.get $to) (local.get $bytes)) (i32.load (i32.add (local.get $from) (local.get $bytes))))
      (br_if $next (local.get $bytes))))

  ;; Where the image has what belongs there. No range goes across a page, so behind its end the page of zeros will do.
  (func $image (param $at i32) (result i32)
    (select (i32.add (local.get $at) (i32.const 4096)) (i32.const 0) (i32.lt_u (local.get $at) (global.get $base))))

  ;; heap.free_chunks: notes the garbage, and returns whether the chain is whole.
  (func $chunks (param $at i32) (result i32)
    (local $end i32) (local $head i32) (local $bytes i32)
    (local.set $end (i32.sub (global.get $size) (i32.const 56)))
    (loop $next
      (if (i32.lt_u (local.get $at) (local.get $end))
        (then
          (local.set $head (i32.load offset=4 (i32.add (global.get $copy) (local.get $at))))
          (local.set $bytes (i32.and (local.get $head) (i32.const -8)))
          (if (i32.or
                (i32.or (i32.lt_u (local.get $bytes) (i32.const 16)) (i32.and (local.get $bytes) (i32.const 15)))
                (i32.gt_u (local.get $bytes) (i32.sub (local.get $end) (local.get $at))))
            (then (return (i32.const 0))))
          (if (i32.eqz (i32.and (local.get $head) (i32.const 2)))
            (then (call $garbage
              (i32.add (local.get $at)
                (select (i32.const 16) (i32.const 32) (i32.lt_u (local.get $bytes) (i32.const 256))))
              (i32.add (local.get $at) (local.get $bytes)))))
          (local.set $at (i32.add (local.get $at) (local.get $bytes)))
          (br $next))))
    (i32.eq (local.get $at) (local.get $end)))

  ;; heap.free_cells: notes the garbage, and returns whether all lists and the arenas in flagged pages are as they must be.
  (func $cells (param $lists i32) (param $origin i32) (result i32)
    (local $index i32) (local $head i32) (local $arena i32) (local $at i32) (local $seen i32)
    (loop $next_list
      (local.set $head (i32.add (local.get $lists) (i32.shl (local.get $index) (i32.const 3))))
      (local.set $arena
        (i32.load (i32.add (global.get $copy) (i32.sub (local.get $head) (local.get $origin)))))
      (loop $next_arena
        (if (i32.ne (local.get $arena) (local.get $head))
          (then
            (local.set $at (i32.sub (local.get $arena) (local.get $origin)))
            (local.set $seen (i32.add (local.get $seen) (i32.const 1)))
            (if (i32.or
                  (i32.or (i32.and (local.get $at) (i32.const 7))
                          (i32.gt_u (local.get $at) (i32.sub (global.get $size) (i32.const 24))))
                  (i32.gt_u (local.get $seen) (i32.shr_u (global.get $size) (i32.const 11))))
              (then (return (i32.const 0))))
            (if (i32.ne (i32.load8_u offset=16 (i32.add (global.get $copy) (local.get $at))) (local.get $index))
              (then (return (i32.const 0))))
            (if (i32.or (call $flagged (local.get $at)) (call $flagged (i32.add (local.get $at) (i32.const 4096))))
              (then
                (if (i32.eqz (call $free (local.get $at) (call $cell_bytes (local.get $index))))
                  (then (return (i32.const 0))))))
            (local.set $arena (i32.load (i32.add (global.get $copy) (local.get $at))))
            (br $next_arena))))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br_if $next_list (i32.lt_u (local.get $index) (i32.const 31))))
    (i32.const 1))

  ;; heap.CELL_BYTES
  (func $cell_bytes (param $index i32) (result i32)
    (if (i32.lt_u (local.get $index) (i32.const 14))
      (then (return (i32.add (i32.const 16) (i32.mul (local.get $index) (i32.const 8))))))
    (if (i32.lt_u (local.get $index) (i32.const 22))
      (then (return (i32.add (i32.const 128) (i32.mul (i32.sub (local.get $index) (i32.const 14)) (i32.const 16))))))
    (i32.add (i32.const 256) (i32.mul (i32.sub (local.get $index) (i32.const 22)) (i32.const 32))))

  ;; heap._free_cells
  (func $free (param $at i32) (param $bytes i32) (result i32)
    (local $count i32) (local $cell i32) (local $left i32) (local $start i32)
    (local.set $count (i32.load16_u offset=20 (i32.add (global.get $copy) (local.get $at))))
    (local.set $cell (i32.load16_u offset=22 (i32.add (global.get $copy) (local.get $at))))
    (local.set $left
      (i32.sub (local.get $count) (i32.load16_u offset=18 (i32.add (global.get $copy) (local.get $at)))))
    (if (i32.or
          (i32.lt_s (local.get $left) (i32.const 0))
          (i32.gt_u (i32.add (i32.mul (local.get $count) (local.get $bytes)) (i32.const 24)) (i32.const 4096)))
      (then (return (i32.const 0))))
    (loop $next_cell
      (if (local.get $left)
        (then
          (if (i32.ge_u (local.get $cell) (local.get $count)) (then (return (i32.const 0))))
          (local.set $start
            (i32.add (i32.add (local.get $at) (i32.const 24)) (i32.mul (local.get $cell) (local.get $bytes))))
          (if (i32.gt_u (i32.add (local.get $start) (local.get $bytes)) (global.get $size))
            (then (return (i32.const 0))))
          (call $garbage (i32.add (local.get $start) (i32.const 4)) (i32.add (local.get $start) (local.get $bytes)))
          (local.set $cell (i32.load16_u (i32.add (global.get $copy) (local.get $start))))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $next_cell))))
    (i32.eq (local.get $cell) (i32.const 0xFFFF)))

  ;; state.changed_pages: takes away the flags of pages that do not differ.
  (func $compare
    (local $at i32) (local $ours i32) (local $theirs i32) (local $stop i32)
    (loop $next
      (if (call $flagged (local.get $at))
        (then
          (local.set $ours (i32.add (global.get $copy) (local.get $at)))
          (local.set $theirs (call $image (local.get $at)))
          (local.set $stop (i32.add (local.get $ours) (i32.const 4096)))
          (block $found
            (loop $next_words
              (br_if $found
                (v128.any_true (v128.xor (v128.load (local.get $ours)) (v128.load (local.get $theirs)))))
              (local.set $ours (i32.add (local.get $ours) (i32.const 16)))
              (local.set $theirs (i32.add (local.get $theirs) (i32.const 16)))
              (br_if $next_words (i32.lt_u (local.get $ours) (local.get $stop))))
            (i32.store8
              (i32.add (global.get $flags) (i32.shr_u (local.get $at) (i32.const 12))) (i32.const 0)))))
      (local.set $at (i32.add (local.get $at) (i32.const 4096)))
      (br_if $next (i32.lt_u (local.get $at) (global.get $size)))))

  ;; state.difference: writes the table of runs.
  (func $difference
    (local $at i32) (local $ours i32) (local $theirs i32) (local $stop i32) (local $word i32) (local $xor v128)
    (global.set $runs (i32.const 0))
    (global.set $pages (i32.const 0))
    (loop $next
      (if (call $flagged (local.get $at))
        (then
          (if (i32.eqz (i32.and (global.get $pages) (i32.const 255))) (then (call $begin_portion)))
          (global.set $pages (i32.add (global.get $pages) (i32.const 1)))
          (local.set $ours (i32.add (global.get $copy) (local.get $at)))
          (local.set $theirs (call $image (local.get $at)))
          (local.set $stop (i32.add (local.get $ours) (i32.const 4096)))
          (loop $next_words
            (local.set $xor (v128.xor (v128.load (local.get $ours)) (v128.load (local.get $theirs))))
            (if (v128.any_true (local.get $xor))
              (then
                (local.set $word (i32.shr_u (i32.sub (local.get $ours) (global.get $copy)) (i32.const 3)))
                (if (i64.ne (i64x2.extract_lane 0 (local.get $xor)) (i64.const 0))
                  (then (call $differs (local.get $word))))
                (if (i64.ne (i64x2.extract_lane 1 (local.get $xor)) (i64.const 0))
                  (then (call $differs (i32.add (local.get $word) (i32.const 1)))))))
            (local.set $ours (i32.add (local.get $ours) (i32.const 16)))
            (local.set $theirs (i32.add (local.get $theirs) (i32.const 16)))
            (br_if $next_words (i32.lt_u (local.get $ours) (local.get $stop))))))
      (local.set $at (i32.add (local.get $at) (i32.const 4096)))
      (br_if $next (i32.lt_u (local.get $at) (global.get $size)))))

  ;; How wide a gap within a run may be in this portion of 256 pages; and how wide before its first word.
  (global $pages (mut i32) (i32.const 0))
  (global $gap (mut i32) (i32.const 0))
  (global $first_gap (mut i32) (i32.const 0))
  (func $begin_portion
    (global.set $gap (select (i32.const 1) (i32.const 64) (i32.lt_u (global.get $runs) (i32.const 50000))))
    (global.set $first_gap (i32.const 0)))

  ;; state._add_runs, a word at a time.
  (func $differs (param $word i32)
    (local $entry i32)
    (local.set $entry (i32.add (global.get $table) (i32.shl (global.get $runs) (i32.const 3))))
    (if (global.get $runs)
      (then
        (if (i32.le_u
              (i32.sub (local.get $word) (i32.load (i32.sub (local.get $entry) (i32.const 4))))
              (i32.add (global.get $first_gap) (i32.const 1)))
          (then
            (i32.store (i32.sub (local.get $entry) (i32.const 4)) (local.get $word))
            (global.set $first_gap (global.get $gap))
            (return)))))
    (i32.store (local.get $entry) (local.get $word))
    (i32.store offset=4 (local.get $entry) (local.get $word))
    (global.set $first_gap (global.get $gap))
    (global.set $runs (i32.add (global.get $runs) (i32.const 1))))

  ;; state.body: the gaps before all runs, the lengths of all, both as LEB128; the content of all.
  (func $write
    (local $entry i32) (local $last i32) (local $end i32)
    (local.set $last (i32.add (global.get $table) (i32.shl (global.get $runs) (i32.const 3))))
    (global.set $end (local.get $last))
    (i32.store (global.get $head) (local.get $last))
    (local.set $entry (global.get $table))
    (loop $next
      (if (i32.lt_u (local.get $entry) (local.get $last))
        (then
          (call $varint (i32.sub (i32.load (local.get $entry)) (local.get $end)))
          (local.set $end (i32.add (i32.load offset=4 (local.get $entry)) (i32.const 1)))
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
          (call $move
            (global.get $end)
            (i32.add (global.get $copy) (i32.shl (i32.load (local.get $entry)) (i32.const 3)))
            (i32.shl (call $words (local.get $entry)) (i32.const 3)))
          (global.set $end (i32.add (global.get $end) (i32.shl (call $words (local.get $entry)) (i32.const 3))))
          (local.set $entry (i32.add (local.get $entry) (i32.const 8)))
          (br $next))))
    (call $wrote (global.get $end))
    (i32.store offset=4 (global.get $head) (global.get $end)))

  (func $words (param $entry i32) (result i32)
    (i32.add (i32.sub (i32.load offset=4 (local.get $entry)) (i32.load (local.get $entry))) (i32.const 1)))

  (func $varint (param $number i32)
    (loop $next
      (if (i32.gt_u (local.get $number) (i32.const 127))
        (then
          (i32.store8 (global.get $end) (i32.or (local.get $number) (i32.const 128)))
          (global.set $end (i32.add (global.get $end) (i32.const 1)))
          (local.set $number (i32.shr_u (local.get $number) (i32.const 7)))
          (br $next))))
    (i32.store8 (global.get $end) (local.get $number))
    (global.set $end (i32.add (global.get $end) (i32.const 1)))))
