package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.MemorySegment;

/**
 * A list of blocks for each row, ascending.
 *
 * @param offsets i64, where the list of each row begins and the last one ends
 * @param blocks i32
 */
record BlockLists(MemorySegment offsets, MemorySegment blocks) {
    int[] blocks(long row) {
        long begin = offsets.getAtIndex(JAVA_LONG, row);
        long end = offsets.getAtIndex(JAVA_LONG, row + 1);
        return blocks.asSlice(JAVA_INT.byteSize() * begin, JAVA_INT.byteSize() * (end - begin))
                .toArray(JAVA_INT);
    }

    /** Where a row lists a block, or -1 - where it would. */
    long find(long row, int block) {
        long low = offsets.getAtIndex(JAVA_LONG, row);
        long high = offsets.getAtIndex(JAVA_LONG, row + 1);
        while (low < high) {
            long middle = low + high >>> 1;
            int there = blocks.getAtIndex(JAVA_INT, middle);
            if (there == block) {
                return middle;
            }
            if (there < block) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return -1 - low;
    }

    /** How many blocks of a row come before one. */
    long before(long row, int end) {
        long place = find(row, end);
        return (place < 0 ? -1 - place : place) - offsets.getAtIndex(JAVA_LONG, row);
    }
}
