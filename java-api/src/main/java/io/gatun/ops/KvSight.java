package io.gatun.ops;

import java.util.ArrayList;
import java.util.List;

/**
 * What queries see of a segment of a sequence, in terms of {@link Decode}, for which the last query is at the last key:
 * queries begin .. end - 1 see the first {@code length} keys, less what a window hides. Their positions among the keys
 * of the sequence are {@code shift} less than what Decode takes them to be.
 */
record KvSight(int begin, int end, long length, long windowLeft, long sinkKeys, long shift) {
    /**
     * All queries together if Decode can tell what they see, otherwise one by one.
     *
     * @param offset of the first key of the segment in the sequence
     * @param length of the segment
     * @param total keys of the sequence, the last of which is at the last query
     */
    static List<KvSight> of(
            long offset, long length, long total, int queries, boolean causal, Attention.Window window) {
        long newer = total - offset - length;
        long sinkKeys = Math.max(0, window.sinkKeys() - offset);
        long left = window.left();
        if ((!causal || newer >= queries - 1) && (left < 0 || left >= newer)) {
            return List.of(new KvSight(0, queries, length, left < 0 ? -1 : left - newer, sinkKeys, -newer));
        }
        List<KvSight> sights = new ArrayList<>();
        for (int i = 0; i < queries; i++) {
            long position = i + total - queries - offset;
            long seen = causal ? Math.clamp(position + 1, 0, length) : length;
            long hidden = left < 0 ? 0 : Math.max(0, position - left);
            boolean onlySinks = hidden >= seen;
            long end = onlySinks ? Math.min(seen, sinkKeys) : seen;
            long near = onlySinks || left < 0 ? -1 : end - 1 - hidden;
            sights.add(new KvSight(i, i + 1, end, near, sinkKeys, end - 1 - position));
        }
        return sights;
    }
}
