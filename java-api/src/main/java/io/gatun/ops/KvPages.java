package io.gatun.ops;

import io.gatun.GatunException;

/** Which pages of a pool are taken, and how many sequences each belongs to. For one thread at a time. */
final class KvPages {
    /** Of each page; 0: it is free. */
    private final int[] owners;
    /** The first {@code left} entries are the free pages. */
    private final int[] free;

    private int left;
    private int shared;

    KvPages(int pages) {
        owners = new int[pages];
        free = new int[pages];
        for (int i = 0; i < pages; i++) {
            free[i] = pages - 1 - i;
        }
        left = pages;
    }

    /** A page that had no owner, with one now: of those never used the first. Callers know that there is one. */
    int take() {
        if (left == 0) {
            throw new GatunException("pages: taken without one that is free, of " + owners.length);
        }
        int page = free[--left];
        owners[page] = 1;
        return page;
    }

    /** One owner more. */
    void share(int page) {
        checkTaken(page, "shared");
        if (++owners[page] == 2) {
            shared++;
        }
    }

    /** One owner less; without any the page is free. */
    void release(int page) {
        checkTaken(page, "released");
        int now = --owners[page];
        if (now == 1) {
            shared--;
        } else if (now == 0) {
            free[left++] = page;
        }
    }

    private void checkTaken(int page, String how) {
        if (owners[page] == 0) {
            throw new GatunException("page " + page + ": " + how + " without an owner");
        }
    }

    /** Whether it has several owners: it must not be written then. */
    boolean isShared(int page) {
        return owners[page] > 1;
    }

    /** How many are free. */
    int left() {
        return left;
    }

    /** How many have owners. */
    int used() {
        return owners.length - left;
    }

    /** How many have several owners. */
    int shared() {
        return shared;
    }

    int pages() {
        return owners.length;
    }
}
