package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.GATUN_ZERO_FLOAT;
import static io.gatun.bindings.c.gatun_h.GATUN_ZERO_NONE;
import static io.gatun.bindings.c.gatun_h.gatun_kv_cache_move;
import static io.gatun.bindings.c.gatun_h.gatun_kv_cache_read;
import static io.gatun.bindings.c.gatun_h.gatun_kv_cache_write;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.bindings.c.gatun_kv_layout;
import io.gatun.bindings.c.gatun_kv_rows_params;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.KvFormat.Scaling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;

/**
 * Keys, or values, of attention in pages of rows: a pool has pages 0 .. pages - 1, and a page holds pageSize tokens
 * of {@code size} channels for each head. Slot s is row s % pageSize of page s / pageSize, in all heads. Which pages
 * make a sequence is a table's matter ({@link Decode}), so sequences share a pool, and may share pages
 * (PagedAttention, Kwon et al. 2023).
 *
 * <pre>
 * try (KvPool k = KvPool.allocate(KvFormat.int8(), 8, 4096, 16, 128)) {
 *     k.write(keys, new long[] {32, 33, 34});  // [heads, 3, size] into the first slots of page 2
 * }
 * </pre>
 *
 * <p>Any threads may call, but none that writes a slot at the same time as one that reads or writes it.
 */
public final class KvPool implements AutoCloseable {
    private static final Set<DType> VALUES = EnumSet.of(DType.F32, DType.F16, DType.BF16, DType.F8E4M3, DType.F8E5M2);

    private static final ThreadLocal<MemorySegment> PARAMS = Native.params(gatun_kv_rows_params::layout);
    private static final ThreadLocal<NativeLongs> SLOTS = ThreadLocal.withInitial(NativeLongs::new);
    private static final ThreadLocal<NativeLongs> TARGETS = ThreadLocal.withInitial(NativeLongs::new);

    private final KvFormat format;
    private final Tensor rows;
    private final Tensor scales;
    private final Tensor zeroPoints;
    /** Of all three; null of memory of others. */
    private final Arena arena;
    /** What C gets: written here alone, so any thread may read it. */
    private final MemorySegment layout;

    /** Whether a {@link KvCache} has it, which alone frees it. */
    private final boolean ofCache;

    private volatile boolean closed;

    private KvPool(KvFormat format, Tensor rows, Tensor scales, Tensor zeroPoints, Arena arena, boolean ofCache) {
        this.format = format;
        this.rows = rows;
        this.scales = scales;
        this.zeroPoints = zeroPoints;
        this.arena = arena;
        this.ofCache = ofCache;
        layout = Native.struct(gatun_kv_layout::layout);
        gatun_kv_layout.dtype(layout, format.dtype().code());
        gatun_kv_layout.scaling(layout, format.scaling().ordinal());
        gatun_kv_layout.zero_point(layout, format.zeroPoint() ? GATUN_ZERO_FLOAT() : GATUN_ZERO_NONE());
        gatun_kv_layout.size(layout, size());
        gatun_kv_layout.group(layout, format.groupOf(size()));
        gatun_kv_layout.heads(layout, heads());
        gatun_kv_layout.pages(layout, pages());
        gatun_kv_layout.page_size(layout, pageSize());
        gatun_kv_layout.page_stride(layout, format.dtype().bytes(DecodeCall.stride(rows, 0)));
        gatun_kv_layout.head_stride(layout, format.dtype().bytes(DecodeCall.stride(rows, 1)));
        gatun_kv_layout.row_stride(layout, format.dtype().bytes(DecodeCall.stride(rows, 2)));
        gatun_kv_layout.scale_page_stride(layout, DecodeCall.stride(scales, 0));
        gatun_kv_layout.scale_head_stride(layout, DecodeCall.stride(scales, 1));
        gatun_kv_layout.scale_row_stride(layout, DecodeCall.stride(scales, 2));
    }

    /**
     * A pool of zeros in memory of its own, which {@link #close} frees: 64-byte aligned [pages, heads, pageSize, size].
     *
     * @param format of the rows
     * @param heads of keys and values, which may be fewer than those of queries
     * @param pages how many there are
     * @param pageSize tokens of a page, at least 1; with scales per channel a multiple of their group
     * @param size channels of a row, a multiple of 8 in 8..256
     * @throws IllegalArgumentException if an argument does not fit
     * @throws OutOfMemoryError if there is not so much memory
     */
    public static KvPool allocate(KvFormat format, int heads, int pages, int pageSize, int size) {
        return allocate(Device.CPU, format, heads, pages, pageSize, size);
    }

    /**
     * The same in memory of a device. On a GPU calls return before their work is done, but {@link #write} of values
     * that become codes, which waits for it, to know whether there is one that it refuses.
     *
     * @throws io.gatun.GatunException if the device has not so much memory
     */
    public static KvPool allocate(Device device, KvFormat format, int heads, int pages, int pageSize, int size) {
        return allocate(device, format, heads, pages, pageSize, size, false);
    }

    /** The same; one of a cache refuses {@link #close}. */
    static KvPool allocate(
            Device device, KvFormat format, int heads, int pages, int pageSize, int size, boolean ofCache) {
        Check.present("device", device);
        Check.present("format", format);
        Check.range("heads", heads, 0, Integer.MAX_VALUE);
        Check.range("pages", pages, 0, Integer.MAX_VALUE);
        Check.range("pageSize", pageSize, 1, Integer.MAX_VALUE);
        format.check(size, pageSize);
        boolean scaled = format.scaling() != Scaling.NONE;
        int scaleRows = format.scaling() == Scaling.PER_CHANNEL ? pageSize / format.group() : pageSize;
        long[] scaleShape = {pages, heads, scaleRows, format.scales(size)};
        Arena arena = Arena.ofShared();
        try {
            Tensor rows = large(device, arena, format.dtype(), pages, heads, pageSize, size);
            Tensor scales = scaled ? large(device, arena, DType.F16, scaleShape) : null;
            Tensor zeroPoints = format.zeroPoint() ? large(device, arena, DType.F16, scaleShape) : null;
            return new KvPool(format, rows, scales, zeroPoints, arena, ofCache);
        } catch (Throwable e) {
            arena.close();
            throw e;
        }
    }

    private static Tensor large(Device device, Arena arena, DType dtype, long... shape) {
        Tensor tensor = device.allocate(arena, dtype, shape);
        Native.preferHugePages(tensor);
        return tensor;
    }

    /**
     * A pool over values in memory of others: an engine's own pages, or a contiguous cache, whose items are the pages.
     * Nothing is copied, and {@link #close} frees nothing.
     *
     * @param rows f32, bf16, f16, f8e4m3 or f8e5m2; HND: [pages, heads, pageSize, size], NHD: [pages, pageSize, heads,
     *     size]; any strides that keep rows apart, elements of the last axis adjacent
     * @param order of the axes
     * @throws IllegalArgumentException if the tensor does not fit
     */
    public static KvPool of(Tensor rows, Attention.Layout order) {
        Check.present("rows", rows);
        Check.present("order", order);
        Check.dtype("rows", rows, VALUES);
        boolean hnd = order == Attention.Layout.HND;
        if (rows.shape().rank() != 4) {
            throw Check.invalid(
                    "rows",
                    "shape " + rows.shape(),
                    hnd ? "[pages, heads, pageSize, size] in HND" : "[pages, pageSize, heads, size] in NHD");
        }
        if (rows.stride(3) != 1) {
            throw Check.invalid("rows", rows.describe(), "stride 1 on the last axis (see Tensor.contiguous)");
        }
        AttentionCall.checkSize("rows", rows);
        for (int axis = 0; axis < 3; axis++) {
            Check.range("size of axis " + axis + " of rows", rows.shape().size(axis), 0, Integer.MAX_VALUE);
        }
        int tokens = hnd ? 2 : 1;
        Check.range("pageSize", rows.shape().size(tokens), 1, Integer.MAX_VALUE);
        AttentionCall.checkApart("rows", rows);
        KvFormat format = new KvFormat(rows.dtype(), Scaling.NONE, 0, false);
        return new KvPool(format, hnd ? rows : rows.transpose(1, 2), null, null, null, false);
    }

    /** A view of one head. */
    KvPool head(int head) {
        return new KvPool(format, one(rows, head), one(scales, head), one(zeroPoints, head), null, ofCache);
    }

    private static Tensor one(Tensor tensor, int head) {
        return tensor == null ? null : tensor.slice(1, head, head + 1);
    }

    // ---- rows ------------------------------------------------------------------------------------------------------

    /** As {@link #write(Tensor, long[], int)} with all threads. */
    public void write(Tensor x, long[] slots) {
        write(x, slots, 0);
    }

    /**
     * Rows into slots: tokens appended to sequences, or a prompt at once. Values are rounded to nearest, ties to
     * even, f8 beyond the largest one to that. O(elements of x). Allocates nothing once warmed up.
     *
     * @param x f32, bf16 or f16 [heads, tokens, size], any strides, elements of the last axis adjacent
     * @param slots of each token, distinct; -1 leaves it out. With scales per channel whole groups: the first slot of
     *     each is a multiple of the group and the others follow one by one
     * @param threads 0 for all, 1 for only the calling one
     * @throws IllegalArgumentException if an argument does not fit: nothing is written then; or, naming where, if a
     *     value that becomes a code is NaN or infinite, or a scale leaves the range of f16: the slots hold anything
     *     then
     * @throws IllegalStateException if the pool or the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public void write(Tensor x, long[] slots, int threads) {
        checkRows(x, slots, threads);
        Check.writable("pool", rows);
        checkDisjoint("x", x, "pool");
        MemorySegment params = params(x, slots, threads);
        if (device() != Device.CPU) {
            CudaKvPool.write(this, params, x, slots, SLOTS.get().of(slots));
            return;
        }
        try {
            Native.check(gatun_kv_cache_write(
                    params,
                    layout,
                    x.segment(),
                    SLOTS.get().of(slots),
                    rows.segment(),
                    Native.segment(scales),
                    Native.segment(zeroPoints)));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /** As {@link #read(long[], Tensor, int)} with all threads. */
    public void read(long[] slots, Tensor x) {
        read(slots, x, 0);
    }

    /**
     * The values of slots, computed in f32 as {@link KvFormat} says (q * s + z rounds the product, then the sum), then
     * rounded to nearest, ties to even. O(elements of x). Allocates nothing once warmed up.
     *
     * @param slots of each token; of -1 the row of x is left as it is
     * @param x f32, bf16 or f16 [heads, tokens, size], rows apart, elements of the last axis adjacent
     * @param threads 0 for all, 1 for only the calling one
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws IllegalStateException if the pool or the arena of an argument is closed
     * @throws WrongThreadException if the arena of an argument is confined to another thread
     */
    public void read(long[] slots, Tensor x, int threads) {
        checkRows(x, slots, threads);
        Check.writable("x", x);
        AttentionCall.checkApart("x", x);
        checkDisjoint("x", x, "pool");
        MemorySegment params = params(x, slots, threads);
        if (device() != Device.CPU) {
            CudaKvPool.read(this, params, slots, SLOTS.get().of(slots), x);
            return;
        }
        try {
            Native.check(gatun_kv_cache_read(
                    params,
                    layout,
                    rows.segment(),
                    Native.segment(scales),
                    Native.segment(zeroPoints),
                    SLOTS.get().of(slots),
                    x.segment()));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    /**
     * Slots to slots, with their scales, all at once as it were: compaction in place, where {@code to} may hold slots
     * of {@code from}. O(heads * tokens * size). Allocates nothing once warmed up.
     *
     * @param from slots to read
     * @param to as many distinct ones to write. With scales per channel both are of whole groups
     * @throws IllegalArgumentException if an argument does not fit; nothing is written then
     * @throws IllegalStateException if the pool is closed
     */
    public void move(long[] from, long[] to) {
        Check.present("from", from);
        Check.present("to", to);
        if (to.length != from.length) {
            throw Check.invalid("to", to.length + " slots", from.length + ", as from");
        }
        reachable("pool");
        Check.writable("pool", rows);
        if (device() != Device.CPU) {
            CudaKvPool.move(this, from, SLOTS.get().of(from), to, TARGETS.get().of(to));
            return;
        }
        try {
            Native.check(gatun_kv_cache_move(
                    layout,
                    from.length,
                    SLOTS.get().of(from),
                    TARGETS.get().of(to),
                    rows.segment(),
                    Native.segment(scales),
                    Native.segment(zeroPoints)));
        } catch (AssertionError e) {
            throw Native.closedMeanwhile(e);
        }
    }

    private void checkRows(Tensor x, long[] slots, int threads) {
        Check.present("x", x);
        Check.present("slots", slots);
        Check.threads(threads);
        reachable("pool");
        Check.dtype("x", x, AttentionCall.FLOATS);
        if (x.shape().rank() != 3
                || x.shape().size(0) != heads()
                || x.shape().size(1) != slots.length
                || x.shape().size(2) != size()) {
            throw Check.invalid(
                    "x",
                    "shape " + x.shape(),
                    "[heads, slots, size] = [" + heads() + ", " + slots.length + ", " + size() + "]");
        }
        if (x.stride(2) != 1) {
            throw Check.invalid("x", x.describe(), "stride 1 on the last axis (see Tensor.contiguous)");
        }
        Check.reachable("x", x);
        Check.device("x", x, "the pool", device());
    }

    private static MemorySegment params(Tensor x, long[] slots, int threads) {
        MemorySegment params = PARAMS.get();
        gatun_kv_rows_params.dtype(params, x.dtype().code());
        gatun_kv_rows_params.threads(params, threads);
        gatun_kv_rows_params.tokens(params, slots.length);
        gatun_kv_rows_params.x_head_stride(params, DecodeCall.stride(x, 0));
        // Of no heads rows are nowhere, but C wants them apart.
        boolean none = x.shape().size(0) == 0;
        gatun_kv_rows_params.x_row_stride(params, none ? x.shape().size(2) : DecodeCall.stride(x, 1));
        return params;
    }

    // ---- description -----------------------------------------------------------------------------------------------

    /** How rows are kept. */
    public KvFormat format() {
        return format;
    }

    /** The heads of each page. */
    public int heads() {
        return (int) rows.shape().size(1);
    }

    /** How many pages there are. */
    public int pages() {
        return (int) rows.shape().size(0);
    }

    /** The tokens of a page. */
    public int pageSize() {
        return (int) rows.shape().size(2);
    }

    /** The channels of a row. */
    public int size() {
        return (int) rows.shape().size(3);
    }

    /** What its rows take, with scales and zero points, but without gaps of memory of others. */
    public long bytes() {
        return format.bytes((long) pages() * pageSize(), size()) * heads();
    }

    /** The values, or the codes, as they lie in memory: [pages, heads, pageSize, size]. */
    public Tensor rows() {
        return rows;
    }

    /**
     * The scales of codes, f16 [pages, heads, pageSize, groups], per channel [pages, heads, pageSize / group, size];
     * null of values.
     */
    public Tensor scales() {
        return scales;
    }

    /** The zero points, as {@link #scales}; or null. */
    public Tensor zeroPoints() {
        return zeroPoints;
    }

    /** What the memory of its rows belongs to. */
    public Device device() {
        return rows.device();
    }

    MemorySegment layout() {
        return layout;
    }

    /** Refuses a closed pool, and one over memory that cannot be used here. */
    void reachable(String argument) {
        Check.open(argument, "pool", !closed);
        Check.reachable(argument, rows);
    }

    /** Refuses an output that shares memory with rows, scales or zero points. */
    void checkDisjoint(String output, Tensor out, String argument) {
        Check.disjoint(output, out, argument, rows);
        Check.disjoint(output, out, argument, scales);
        Check.disjoint(output, out, argument, zeroPoints);
    }

    /**
     * Frees its memory; of memory of others it only refuses further calls.
     *
     * @throws IllegalStateException if it is closed already, another thread's call uses it, or a {@link KvCache} has it
     */
    @Override
    public synchronized void close() {
        Check.open("pool", "pool", !closed);
        if (ofCache) {
            throw new IllegalStateException(
                    "pool: given one of a KvCache; allowed: one without, as closing the cache closes it");
        }
        free();
    }

    /** {@link #close}, whoever has it; another time it does nothing. */
    synchronized void free() {
        if (closed) {
            return;
        }
        if (arena != null) {
            try {
                arena.close();
            } catch (IllegalStateException e) {
                throw new IllegalStateException(
                        "pool: given one that another thread's call uses; allowed: one that no call uses", e);
            }
        }
        closed = true;
    }

    /** {@code 8 heads x 4096 pages of 16 tokens x 128 of i8 per token}. */
    @Override
    public String toString() {
        return heads() + " heads x " + pages() + " pages of " + pageSize() + " tokens x " + size() + " of " + format;
    }
}
