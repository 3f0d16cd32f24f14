package io.gatun.ops;

/** How many pages a segment takes while tokens come and go, found without taking any. */
final class KvGrowth {
    private final KvSegment segment;
    private final int pageSize;
    private long length;
    private int dropped;
    /** Whether the last page at the beginning, which was shared, got replaced by a copy. */
    private boolean copied;

    private long taken;
    private long most;

    KvGrowth(KvSegment segment) {
        this.segment = segment;
        pageSize = segment.tier().pageSize();
        length = segment.length();
    }

    long length() {
        return length;
    }

    /** The most pages at any time beyond those at the beginning. */
    long most() {
        return most;
    }

    void append(long tokens) {
        if (tokens > 0 && length % pageSize > 0 && !copied && isShared((int) (dropped + length / pageSize))) {
            copied = true;
            taken++;
        }
        taken += Math.ceilDiv(length + tokens, (long) pageSize) - Math.ceilDiv(length, (long) pageSize);
        most = Math.max(most, taken);
        length += tokens;
    }

    void dropFirst() {
        // What others have, too, does not become free.
        boolean last = dropped == segment.count() - 1;
        if (last && copied || !isShared(dropped)) {
            taken--;
        }
        dropped++;
        length -= pageSize;
    }

    private boolean isShared(int index) {
        return index < segment.count() && segment.isShared(index);
    }
}
