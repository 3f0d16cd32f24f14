package io.gatun;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.internal.Check;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;

/**
 * A view of native memory as an array of numbers: element type, shape, strides. The view is immutable, the numbers are
 * not. It never owns memory: the arena of its segment does, and a closed arena or another thread's confined arena makes
 * every use of the tensor fail with an exception, never with a crash. Numbers are in the byte order of the machine.
 *
 * <p>The memory may belong to another {@link Device} than the CPU. Then views work as here; {@link #to(Device)} and
 * {@link #toFloatArray} copy, and single elements cannot be reached.
 */
public final class Tensor {
    static final long ALIGNMENT = 64;

    private final DType dtype;
    private final Shape shape;
    private final long[] strides;
    private final Device device;
    /** From the first to the last element. Of a device, whoever reads it on the CPU crashes, so it never leaves here. */
    private final MemorySegment memory;

    private final MemorySegment pointer;
    private final boolean contiguous;

    /** {@code memory} starts at the first element and is cut after the last one. */
    Tensor(Device device, MemorySegment memory, DType dtype, Shape shape, long[] strides) {
        this.device = device;
        this.dtype = dtype;
        this.shape = shape;
        this.strides = strides;
        this.memory = memory.asSlice(0, Layout.spanBytes(dtype, shape, strides));
        this.pointer = this.memory.asSlice(0, 0);
        this.contiguous = Layout.isContiguous(dtype, shape, strides);
    }

    // ---- memory of its own -----------------------------------------------------------------------------------------

    /**
     * Zeros in memory that is freed when nothing refers to it any more; 64-byte aligned. Such memory counts against
     * {@code -XX:MaxDirectMemorySize}, by default the size of the heap; memory of an arena of one's own does not.
     */
    public static Tensor allocate(DType dtype, long... shape) {
        return allocate(Arena.ofAuto(), dtype, shape);
    }

    /** Zeros in memory of an arena; 64-byte aligned. */
    public static Tensor allocate(Arena arena, DType dtype, long... shape) {
        Check.open("arena", arena);
        Check.present("dtype", dtype);
        Shape sizes = Shape.of(shape);
        long[] strides = Layout.contiguousStrides(dtype, sizes);
        // One byte at least, so that an empty tensor has an address too.
        long bytes = Math.max(Layout.spanBytes(dtype, sizes, strides), 1);
        return new Tensor(Device.CPU, Check.allocate(arena, bytes, ALIGNMENT), dtype, sizes, strides);
    }

    /** A copy of an array as {@link DType#F32}. */
    public static Tensor of(float[] values, long... shape) {
        return of(DType.F32, values, shape);
    }

    /** A copy of an array, rounded to {@code dtype} as {@link #setFloat} does. */
    public static Tensor of(DType dtype, float[] values, long... shape) {
        return allocate(dtype, shape).copyFrom(values);
    }

    /** A copy of an array as {@link DType#I32}. */
    public static Tensor of(int[] values, long... shape) {
        Check.present("values", values);
        return copyOf(MemorySegment.ofArray(values), DType.I32, shape);
    }

    /** A copy of an array as {@link DType#I8}. */
    public static Tensor of(byte[] values, long... shape) {
        return of(DType.I8, values, shape);
    }

    /** A copy of the bytes of elements of at most 8 bits, packed if they are smaller: the patterns of small floats. */
    public static Tensor of(DType dtype, byte[] bytes, long... shape) {
        Check.present("bytes", bytes);
        return copyOf(MemorySegment.ofArray(bytes), checkBits(dtype, 8), shape);
    }

    /** A copy of the patterns of {@link DType#F16} or {@link DType#BF16} elements. */
    public static Tensor of(DType dtype, short[] patterns, long... shape) {
        Check.present("patterns", patterns);
        return copyOf(MemorySegment.ofArray(patterns), checkBits(dtype, 16), shape);
    }

    private static DType checkBits(DType dtype, int bits) {
        Check.present("dtype", dtype);
        if (Math.max(dtype.bits(), 8) != bits) {
            throw Check.invalid("dtype", dtype, bits == 8 ? "a type of at most 8 bits" : "f16 or bf16");
        }
        return dtype;
    }

    private static Tensor copyOf(MemorySegment array, DType dtype, long[] shape) {
        Tensor copy = allocate(dtype, shape);
        if (array.byteSize() != copy.byteSize()) {
            throw Check.invalid("values", array.byteSize() + " bytes", copy.byteSize() + " for " + copy.name());
        }
        MemorySegment.copy(array, 0, copy.memory, 0, array.byteSize());
        return copy;
    }

    // ---- memory of others ------------------------------------------------------------------------------------------

    /**
     * A view of the start of a native segment; nothing is copied.
     *
     * @throws IllegalArgumentException if the segment is on the heap, too small, or its address not aligned to the
     *     element
     */
    public static Tensor wrap(MemorySegment segment, DType dtype, long... shape) {
        Check.present("dtype", dtype);
        return view(Device.CPU, "segment", segment, dtype, Shape.of(shape), null);
    }

    /**
     * As {@link #wrap(MemorySegment, DType, long...)}, with strides in elements, one an axis, each >= 0. Of
     * {@link DType#U4} and other elements smaller than a byte each row owns whole bytes: the last axis has stride 1, the
     * others have multiples of what a byte holds.
     */
    public static Tensor wrap(MemorySegment segment, DType dtype, Shape shape, long... strides) {
        Check.present("dtype", dtype);
        Check.present("shape", shape);
        Check.present("strides", strides);
        return view(Device.CPU, "segment", segment, dtype, shape, strides.clone());
    }

    /**
     * A view of a direct buffer from its position on; nothing is copied. Neither position, limit nor byte order of the
     * buffer matter afterwards.
     *
     * @throws IllegalArgumentException if the buffer is on the heap, too small, or its address at the position not
     *     aligned to the element
     */
    public static Tensor wrap(ByteBuffer buffer, DType dtype, long... shape) {
        Check.present("buffer", buffer);
        Check.present("dtype", dtype);
        if (!buffer.isDirect()) {
            throw Check.invalid("buffer", "a heap buffer", "a direct one, or a copy by Tensor.of");
        }
        return view(Device.CPU, "buffer", MemorySegment.ofBuffer(buffer), dtype, Shape.of(shape), null);
    }

    /**
     * A read-only view of part of a file, which is mapped, not read. The file must not be truncated while the arena is
     * open.
     *
     * @param offset of the first element, in bytes; a multiple of the element's size
     * @throws IOException if the file cannot be opened or mapped
     */
    public static Tensor map(Path file, long offset, DType dtype, Arena arena, long... shape) throws IOException {
        Check.present("file", file);
        Check.open("arena", arena);
        Check.present("dtype", dtype);
        Shape sizes = Shape.of(shape);
        long bytes = Layout.spanBytes(dtype, sizes, Layout.contiguousStrides(dtype, sizes));
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            long room = channel.size() - bytes;
            if (offset < 0 || offset > room) {
                String allowed = room < 0 ? "a file of at least " + bytes + " bytes" : "0.." + room;
                throw Check.invalid(
                        "offset",
                        offset + " in " + file + " of " + channel.size() + " bytes",
                        allowed + " for " + dtype + sizes);
            }
            MemorySegment mapped = channel.map(FileChannel.MapMode.READ_ONLY, offset, bytes, arena);
            return view(Device.CPU, "offset", mapped, dtype, sizes, null);
        } catch (WrongThreadException e) {
            throw Check.foreign("arena", "another thread's confined arena");
        }
    }

    /** {@code givenStrides}: null for those of a contiguous tensor. */
    static Tensor view(
            Device device, String argument, MemorySegment memory, DType dtype, Shape shape, long[] givenStrides) {
        Check.present(argument, memory);
        if (!memory.isNative()) {
            throw Check.invalid(argument, "a heap segment", "a native one, or a copy by Tensor.of");
        }
        long[] strides = givenStrides == null ? Layout.contiguousStrides(dtype, shape) : givenStrides;
        Layout.checkStrides(dtype, shape, strides);
        long bytes = Layout.spanBytes(dtype, shape, strides);
        if (memory.byteSize() < bytes) {
            throw Check.invalid(argument, memory.byteSize() + " bytes", "at least " + bytes + " for " + dtype + shape);
        }
        if (memory.address() % dtype.alignment() != 0) {
            throw Check.invalid(
                    argument,
                    "address 0x" + Long.toHexString(memory.address()),
                    "a multiple of " + dtype.alignment() + " for " + dtype);
        }
        return new Tensor(device, memory, dtype, shape, strides);
    }

    // ---- views -----------------------------------------------------------------------------------------------------

    /**
     * The part {@code begin..end} of an axis, {@code end} excluded; nothing is copied. O(rank).
     *
     * @throws IllegalArgumentException for the last axis of {@link DType#U4} also if {@code begin} is odd, or {@code end}
     *     is and is not the size of the axis, and likewise for other elements smaller than a byte: rows share no byte with
     *     anything else
     */
    public Tensor slice(int axis, long begin, long end) {
        if (axis < 0 || axis >= shape.rank()) {
            throw Check.invalid("axis", axis, "0.." + (shape.rank() - 1) + " for shape " + shape);
        }
        if (begin < 0 || end < begin || end > shape.size(axis)) {
            throw Check.invalid("slice", begin + ".." + end + " of axis " + axis, "a part of 0.." + shape.size(axis));
        }
        int unit = dtype.elementsPerBytes();
        if (unit > 1 && axis == shape.rank() - 1) {
            String allowed = Layout.multiple(dtype) + " on the last axis of " + dtype;
            if (begin % unit != 0) {
                throw Check.invalid("begin", begin, allowed);
            }
            if (end % unit != 0 && end != shape.size(axis)) {
                throw Check.invalid("end", end, allowed + ", or its size " + shape.size(axis));
            }
        }
        long[] sizes = shape.toArray();
        sizes[axis] = end - begin;
        Shape part = Shape.of(sizes);
        long offset = part.elements() == 0 ? 0 : dtype.bytes(begin * strides[axis]);
        return new Tensor(device, memory.asSlice(offset), dtype, part, strides);
    }

    /**
     * The axes in reverse order; nothing is copied.
     *
     * @throws IllegalArgumentException for elements smaller than a byte, which are packed along their last axis
     */
    public Tensor transpose() {
        if (dtype.elementsPerBytes() > 1 && shape.rank() > 1) {
            throw Check.invalid("dtype", dtype, "types of whole bytes (" + dtype + " is packed along its last axis)");
        }
        int rank = shape.rank();
        long[] sizes = new long[rank];
        long[] reversed = new long[rank];
        for (int axis = 0; axis < rank; axis++) {
            sizes[axis] = shape.size(rank - 1 - axis);
            reversed[axis] = strides[rank - 1 - axis];
        }
        return new Tensor(device, memory, dtype, Shape.of(sizes), reversed);
    }

    /**
     * Two axes in each other's place; nothing is copied.
     *
     * @throws IllegalArgumentException of the last axis for elements smaller than a byte, which are packed along it
     */
    public Tensor transpose(int first, int second) {
        shape.checkAxis(first);
        long[] sizes = shape.toArray();
        long[] swapped = strides.clone();
        sizes[first] = shape.size(second);
        sizes[second] = shape.size(first);
        swapped[first] = stride(second);
        swapped[second] = stride(first);
        Layout.checkStrides(dtype, Shape.of(sizes), swapped);
        return new Tensor(device, memory, dtype, Shape.of(sizes), swapped);
    }

    /**
     * The same elements in row-major order under another shape; nothing is copied.
     *
     * @throws IllegalArgumentException if the number of elements differs, the tensor is not contiguous, or rows of
     *     elements smaller than a byte would change their padding
     */
    public Tensor reshape(long... newShape) {
        Shape sizes = Shape.of(newShape);
        if (sizes.elements() != shape.elements()) {
            throw Check.invalid("shape", sizes, shape.elements() + " elements, as " + shape + " has");
        }
        Check.contiguous("tensor", this);
        long[] packed = Layout.contiguousStrides(dtype, sizes);
        if (!Layout.samePadding(dtype, shape, sizes)) {
            throw Check.invalid(
                    "shape", sizes, "rows of whole bytes, or of the same number of " + dtype + " elements as now");
        }
        return new Tensor(device, memory, dtype, sizes, packed);
    }

    /** This tensor if it is contiguous, otherwise a copy that is. */
    public Tensor contiguous() {
        return contiguous ? this : to(dtype);
    }

    /** A contiguous copy in another element type, each element rounded as {@link #setFloat} does. */
    public Tensor to(DType target) {
        MemorySegment segment = segment();
        Check.reachable("tensor", segment);
        Tensor copy = allocate(target, shape.toArray());
        Elements.convert(shape, dtype, segment, strides, target, copy.memory, copy.strides);
        return copy;
    }

    // ---- devices ---------------------------------------------------------------------------------------------------

    /** What the memory belongs to. */
    public Device device() {
        return device;
    }

    /**
     * This tensor if its memory belongs to the device, otherwise a contiguous copy in new memory there. Waits for all work
     * of the devices, and until the copy is done; {@link DeviceStream#copy} does not.
     */
    public Tensor to(Device target) {
        Check.present("target", target);
        Check.reachable("tensor", this);
        if (target == device) {
            return this;
        }
        if (device == Device.CPU) {
            Tensor copy = target.allocate(dtype, shape.toArray());
            target.copy(contiguous(), copy);
            return copy;
        }
        // All bytes, gaps included, then the elements among them.
        Tensor bytes = allocate(DType.U8, memory.byteSize());
        device.copy(new Tensor(device, memory, DType.U8, bytes.shape, bytes.strides), bytes);
        return new Tensor(Device.CPU, bytes.memory, dtype, shape, strides)
                .contiguous()
                .to(target);
    }

    // ---- elements --------------------------------------------------------------------------------------------------

    /** The element at an index. {@link DType#I32} is rounded to the nearest {@code float}. */
    public float getFloat(long... index) {
        MemorySegment segment = segment();
        Check.reachable("tensor", segment);
        return Elements.get(dtype, segment, Layout.element(shape, strides, index));
    }

    /** The element at an index of an integer type. */
    public int getInt(long... index) {
        MemorySegment segment = segment();
        Check.reachable("tensor", segment);
        return Elements.getInt(dtype, segment, Layout.element(shape, strides, index));
    }

    /**
     * Writes an element: floating-point types round to nearest, ties to even.
     *
     * @throws IllegalArgumentException if an integer type does not hold the value exactly
     */
    public void setFloat(float value, long... index) {
        MemorySegment segment = segment();
        Check.reachable("tensor", segment);
        Check.writable("tensor", segment);
        Elements.set(dtype, segment, Layout.element(shape, strides, index), value);
    }

    /** All elements in row-major order, in a new array; of another device after all its work. */
    public float[] toFloatArray() {
        if (device != Device.CPU) {
            return to(Device.CPU).toFloatArray();
        }
        MemorySegment segment = segment();
        Check.reachable("tensor", segment);
        if (shape.elements() > Integer.MAX_VALUE - 8) {
            throw Check.invalid("tensor", name(), "at most " + (Integer.MAX_VALUE - 8) + " elements in an array");
        }
        float[] values = new float[(int) shape.elements()];
        if (contiguous && dtype == DType.F32) {
            MemorySegment.copy(segment, JAVA_FLOAT, 0, values, 0, values.length);
        } else if (values.length > 0) {
            long[] index = new long[shape.rank()];
            for (int i = 0; i < values.length; i++, Layout.next(shape, index)) {
                values[i] = Elements.get(dtype, segment, Layout.element(shape, strides, index));
            }
        }
        return values;
    }

    /**
     * Writes all elements from an array in row-major order, rounded as {@link #setFloat} does; returns this.
     *
     * @throws IllegalArgumentException if an integer type does not hold a value exactly; nothing is written then
     */
    public Tensor copyFrom(float[] values) {
        Check.present("values", values);
        MemorySegment segment = segment();
        Check.reachable("tensor", segment);
        Check.writable("tensor", segment);
        if (values.length != shape.elements()) {
            throw Check.invalid("values", values.length + " elements", shape.elements() + " for " + name());
        }
        for (int i = 0; i < values.length; i++) {
            if (!Elements.holds(dtype, values[i])) {
                throw Elements.refused(dtype, "values[" + i + "]", values[i]);
            }
        }
        if (contiguous && dtype == DType.F32) {
            MemorySegment.copy(values, 0, segment, JAVA_FLOAT, 0, values.length);
        } else if (values.length > 0) {
            long[] index = new long[shape.rank()];
            for (int i = 0; i < values.length; i++, Layout.next(shape, index)) {
                Elements.set(dtype, segment, Layout.element(shape, strides, index), values[i]);
            }
        }
        return this;
    }

    // ---- description -----------------------------------------------------------------------------------------------

    /** The element type. */
    public DType dtype() {
        return dtype;
    }

    /** The sizes of the axes. */
    public Shape shape() {
        return shape;
    }

    /**
     * The distance in elements from one index to the next along an axis.
     *
     * @throws IndexOutOfBoundsException if there is no such axis
     */
    public long stride(int axis) {
        shape.checkAxis(axis);
        return strides[axis];
    }

    /** A copy of the strides, in elements. */
    public long[] strides() {
        return strides.clone();
    }

    /**
     * The memory from the first to the last element.
     *
     * @throws UnsupportedOperationException with the operation that asks, if the memory belongs to another device than the
     *     CPU: reading it would end the program
     */
    public MemorySegment segment() {
        if (device != Device.CPU) {
            throw Check.notOnCpu(this);
        }
        return memory;
    }

    /**
     * The first element as C functions take it, on any device: a segment without bytes, which nothing can read, but which
     * keeps the memory and is refused by a call when its arena has closed.
     */
    public MemorySegment pointer() {
        return pointer;
    }

    /** The address of the first element, on its device. The tensor must be kept while it is used. */
    public long address() {
        return pointer.address();
    }

    /** The bytes from the first to the last element. */
    public long byteSize() {
        return memory.byteSize();
    }

    /** Whether the elements follow one another in row-major order without gaps. */
    public boolean isContiguous() {
        return contiguous;
    }

    /** Dtype, shape and, if they are not the obvious ones, strides: {@code f32[2, 3] strides [1, 2]}. */
    public String describe() {
        return contiguous ? name() : name() + " strides " + Arrays.toString(strides);
    }

    private String name() {
        return dtype.toString() + shape;
    }

    /** {@link #describe} and the values; of more than 1000 elements, three at each end of an axis. */
    @Override
    public String toString() {
        return TensorText.of(this);
    }
}
