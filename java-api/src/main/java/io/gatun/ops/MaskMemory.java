package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.ops.BlockMask.Parts;
import java.lang.foreign.MemorySegment;

/**
 * Where the parts of a {@link BlockMask} are: on the CPU, on another device, whose calls take that copy, or on both.
 */
final class MaskMemory {
    private final Device device;
    /** What calls get; on another device than the CPU only addresses, which keep the memory. */
    private final Parts arguments;

    private final long fullRoom;
    private final long partialRoom;
    /** What the device has made, otherwise null. */
    private final CudaBlockMask made;

    private volatile Parts host;

    private MaskMemory(
            Device device, Parts arguments, long fullRoom, long partialRoom, CudaBlockMask made, Parts host) {
        this.device = device;
        this.arguments = arguments;
        this.fullRoom = fullRoom;
        this.partialRoom = partialRoom;
        this.made = made;
        this.host = host;
    }

    /** On the CPU, which nobody else writes to. */
    static MaskMemory of(Parts host) {
        return of(Device.CPU, host, host);
    }

    private static MaskMemory of(Device device, Parts arguments, Parts host) {
        return new MaskMemory(device, arguments, blocks(host.fullBlocks()), blocks(host.partialBlocks()), null, host);
    }

    /** Of lists that a device has made, or is about to make. */
    static MaskMemory of(CudaBlockMask made) {
        return new MaskMemory(made.device(), made.arguments(), made.fullRoom(), made.partialRoom(), made, null);
    }

    static long blocks(MemorySegment list) {
        return list.byteSize() / JAVA_INT.byteSize();
    }

    Device device() {
        return device;
    }

    Parts arguments() {
        return arguments;
    }

    /** How many full blocks the lists have room for: as many as there are, or more if a device has made them. */
    long fullRoom() {
        return fullRoom;
    }

    long partialRoom() {
        return partialRoom;
    }

    /** The parts on the CPU. What a device has made is copied when it is asked for, which waits. */
    Parts host() {
        Parts parts = host;
        if (parts == null) {
            synchronized (this) {
                if (host == null) {
                    host = made.toHost();
                }
                parts = host;
            }
        }
        return parts;
    }

    /** For another device; the parts stay on the CPU, too. */
    MaskMemory to(Device target) {
        Parts parts = host();
        if (target == Device.CPU) {
            return of(parts);
        }
        Parts there = new Parts(
                on(target, parts.fullOffsets()),
                on(target, parts.fullBlocks()),
                on(target, parts.partialOffsets()),
                on(target, parts.partialBlocks()),
                parts.partialBits() == null ? null : on(target, parts.partialBits()));
        return of(target, there, parts);
    }

    /** The address of a copy, which lives as long as something refers to it. */
    static MemorySegment on(Device device, MemorySegment memory) {
        return Tensor.wrap(memory, DType.U8, memory.byteSize()).to(device).pointer();
    }
}
