;; The half of snapshot.wat that knows both allocators: it finds the garbage in a guest's memory, as heap.py does.
;;
;; It does not walk what is as in the image. What it needs for that, `survey` notes, or the host if it has it from another
;; instance: for each of the $pages pages of the image:
;;
;;     0              four bytes: the last chunk that begins at or before the page
;;     $places        twice four bytes: where in $arenas the arena stands that begins in this half of the page
;;     $arenas        the arenas in the order of their lists, in four bytes each, and behind those of each list its head
(global $pages (mut i32) (i32.const 0))
(global $image_end (mut i32) (i32.const 0))
(global $places (mut i32) (i32.const 0))
(global $arenas (mut i32) (i32.const 0))

(func (export "survey") (param $heap_start i32) (param $lists i32) (param $is_noted i32)
  (local $at i32) (local $next i32) (local $page i32) (local $head i32) (local $entry i32)
  (global.set $image_end (i32.shl (memory.size $image) (i32.const 16)))
  (global.set $pages (i32.shr_u (global.get $image_end) (i32.const 12)))
  (global.set $places (i32.shl (global.get $pages) (i32.const 2)))
  (global.set $arenas (i32.mul (global.get $pages) (i32.const 12)))
  (if (local.get $is_noted) (then (return)))
  (local.set $next (local.get $heap_start))
  (loop $next_chunk
    (local.set $at (local.get $next))
    (local.set $next (i32.add (local.get $at) (call $image_chunk (local.get $at))))
    (local.set $page (i32.shr_u (i32.add (local.get $at) (i32.const 4095)) (i32.const 12)))
    (block $noted
      (loop $next_page
        (br_if $noted (i32.ge_u (i32.shl (local.get $page) (i32.const 12)) (local.get $next)))
        (i32.store $notes (i32.shl (local.get $page) (i32.const 2)) (local.get $at))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (br $next_page)))
    (br_if $next_chunk (i32.lt_u (local.get $next) (i32.sub (global.get $image_end) (i32.const 56)))))
  (local.set $entry (global.get $arenas))
  (local.set $head (local.get $lists))
  (loop $next_list
    (local.set $at (local.get $head))
    (loop $next_arena
      (local.set $at (i32.load $image (local.get $at)))
      (i32.store $notes (local.get $entry) (local.get $at))
      (if (i32.ne (local.get $at) (local.get $head))
        (then
          (i32.store $notes (call $place (local.get $at)) (local.get $entry))
          (local.set $entry (i32.add (local.get $entry) (i32.const 4)))
          (br $next_arena))))
    (local.set $entry (i32.add (local.get $entry) (i32.const 4)))
    (local.set $head (i32.add (local.get $head) (i32.const 8)))
    (br_if $next_list (i32.lt_u (local.get $head) (i32.add (local.get $lists) (i32.const 248))))))

(func $image_chunk (param $at i32) (result i32)
  (i32.and (i32.load $image offset=4 (local.get $at)) (i32.const -8)))

(func $place (param $arena i32) (result i32)
  (i32.add (global.get $places) (i32.shl (i32.shr_u (local.get $arena) (i32.const 11)) (i32.const 2))))

;; The next chunk of which something may differ: the last that begins at or before the next flagged page. Only where the
;; image has this chunk too; until $walk_to this need not be asked again.
(global $walk_to (mut i32) (i32.const 0))
(func $skip (param $at i32) (result i32)
  (local $page i32) (local $chunk i32)
  (if (call $flagged (local.get $at)) (then (return (local.get $at))))
  (local.set $page (i32.shr_u (local.get $at) (i32.const 12)))
  (local.set $chunk (i32.load $notes (i32.shl (local.get $page) (i32.const 2))))
  (if (i32.eqz (local.get $chunk)) (then (return (local.get $at))))
  (loop $next
    (if (i32.lt_u (local.get $chunk) (local.get $at))
      (then
        (local.set $chunk (i32.add (local.get $chunk) (call $image_chunk (local.get $chunk))))
        (br $next))))
  (if (i32.ne (local.get $chunk) (local.get $at)) (then (return (local.get $at))))
  (loop $next
    (local.set $page (i32.add (local.get $page) (i32.const 1)))
    (if (i32.lt_u (local.get $page) (global.get $pages))
      (then (br_if $next (i32.eqz (call $flagged (i32.shl (local.get $page) (i32.const 12))))))))
  (global.set $walk_to (i32.shl (local.get $page) (i32.const 12)))
  (if (i32.eq (local.get $page) (global.get $pages)) (then (local.set $page (i32.sub (local.get $page) (i32.const 1)))))
  (local.set $chunk (i32.load $notes (i32.shl (local.get $page) (i32.const 2))))
  (select (local.get $chunk) (local.get $at) (i32.gt_u (local.get $chunk) (local.get $at))))

;; The next arena of a list of which something may differ, or the head of the list.
(func $next_arena (param $at i32) (param $head i32) (result i32)
  (local $entry i32)
  (block $walk
    (br_if $walk (call $arena_flagged (local.get $at)))
    (br_if $walk (i32.ge_u (local.get $at) (global.get $image_end)))
    (local.set $entry (i32.load $notes (call $place (local.get $at))))
    (br_if $walk (i32.eqz (local.get $entry)))
    (br_if $walk (i32.ne (i32.load $notes (local.get $entry)) (local.get $at)))
    (loop $next
      (local.set $entry (i32.add (local.get $entry) (i32.const 4)))
      (local.set $at (i32.load $notes (local.get $entry)))
      (if (i32.eq (local.get $at) (local.get $head)) (then (return (local.get $at))))
      (br_if $next (i32.eqz (call $arena_flagged (local.get $at)))))
    (return (local.get $at)))
  (i32.load (local.get $at)))

(func $arena_flagged (param $at i32) (result i32)
  (i32.or (call $flagged (local.get $at)) (call $flagged (i32.add (local.get $at) (i32.const 4096)))))

;; Notes a range, if a page of it is flagged, or may be.
(func $garbage (param $start i32) (param $stop i32)
  (if (i32.ge_u (local.get $start) (local.get $stop)) (then (return)))
  (if (i32.or
        (i32.or (call $flagged (local.get $start)) (call $flagged (i32.sub (local.get $stop) (i32.const 1))))
        (i32.ge_u (i32.sub (local.get $stop) (local.get $start)) (i32.const 4096)))
    (then (call $note (local.get $start) (local.get $stop)))))

(func $note (param $start i32) (param $stop i32)
  (i32.store $notes (global.get $end) (local.get $start))
  (i32.store $notes offset=4 (global.get $end) (local.get $stop))
  (global.set $end (i32.add (global.get $end) (i32.const 8))))

;; Whether a range, or what is in the same sixteen bytes as its end, differs from the image.
(func $differs_at (param $at i32) (param $stop i32) (result i32)
  (loop $next
    (if (v128.any_true (v128.xor (v128.load (local.get $at)) (v128.load $image (local.get $at))))
      (then (return (i32.const 1))))
    (local.set $at (i32.add (local.get $at) (i32.const 16)))
    (br_if $next (i32.lt_u (local.get $at) (local.get $stop))))
  (i32.const 0))

;; heap.free_chunks: notes the garbage, and returns whether the chain is whole.
(func $chunks (param $at i32) (result i32)
  (local $end i32) (local $head i32) (local $bytes i32)
  (local.set $end (i32.sub (global.get $size) (i32.const 56)))
  (global.set $walk_to (i32.const 0))
  (loop $next
    (if (i32.lt_u (local.get $at) (local.get $end))
      (then
        (if (i32.and
              (i32.ge_u (local.get $at) (global.get $walk_to))
              (i32.lt_u (local.get $at) (global.get $image_end)))
          (then (local.set $at (call $skip (local.get $at)))))
        (local.set $head (i32.load offset=4 (local.get $at)))
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
(func $cells (param $lists i32) (result i32)
  (local $index i32) (local $head i32) (local $at i32) (local $seen i32)
  (loop $next_list
    (local.set $head (i32.add (local.get $lists) (i32.shl (local.get $index) (i32.const 3))))
    (local.set $at (i32.load (local.get $head)))
    (loop $next_arena
      (if (i32.ne (local.get $at) (local.get $head))
        (then
          (local.set $seen (i32.add (local.get $seen) (i32.const 1)))
          (if (i32.or
                (i32.or
                  (i32.or (i32.lt_u (local.get $at) (global.get $origin)) (i32.and (local.get $at) (i32.const 7)))
                  (i32.gt_u (local.get $at) (i32.sub (global.get $size) (i32.const 24))))
                (i32.gt_u
                  (local.get $seen)
                  (i32.shr_u (i32.sub (global.get $size) (global.get $origin)) (i32.const 11))))
            (then (return (i32.const 0))))
          (if (i32.ne (i32.load8_u offset=16 (local.get $at)) (local.get $index)) (then (return (i32.const 0))))
          (if (call $arena_flagged (local.get $at))
            (then
              (if (i32.eqz (call $free (local.get $at) (call $cell_bytes (local.get $index))))
                (then (return (i32.const 0))))))
          (local.set $at (call $next_arena (local.get $at) (local.get $head)))
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
  (local.set $count (i32.load16_u offset=20 (local.get $at)))
  (local.set $cell (i32.load16_u offset=22 (local.get $at)))
  (local.set $left (i32.sub (local.get $count) (i32.load16_u offset=18 (local.get $at))))
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
        (if (call $differs_at (i32.add (local.get $start) (i32.const 4)) (i32.add (local.get $start) (local.get $bytes)))
          (then
            (call $note (i32.add (local.get $start) (i32.const 4)) (i32.add (local.get $start) (local.get $bytes)))))
        (local.set $cell (i32.load16_u (local.get $start)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next_cell))))
  (i32.eq (local.get $cell) (i32.const 0xFFFF)))
