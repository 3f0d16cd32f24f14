package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.GatunException;
import org.junit.jupiter.api.Test;

class KvPagesTest {
    /** Against a count of owners for each page. */
    @Test
    void randomOwners() {
        for (int pages : new int[] {1, 2, 7, 40}) {
            Random random = new Random(pages);
            KvPages given = new KvPages(pages);
            int[] owners = new int[pages];
            for (int step = 0; step < 5_000; step++) {
                int page = random.between(0, pages - 1);
                if (random.chance(0.4)) {
                    if (given.left() > 0) {
                        int taken = given.take();
                        assertEquals(0, owners[taken], "page " + taken + " was taken");
                        owners[taken] = 1;
                    } else {
                        assertThrows(GatunException.class, given::take);
                    }
                } else if (owners[page] == 0) {
                    refuse("released without an owner", page, () -> given.release(page));
                    refuse("shared without an owner", page, () -> given.share(page));
                } else if (random.chance(0.4)) {
                    given.share(page);
                    owners[page]++;
                } else {
                    given.release(page);
                    owners[page]--;
                }
                assertOwners(owners, given);
            }
        }
    }

    private static void refuse(String why, int page, Runnable call) {
        GatunException refusal = assertThrows(GatunException.class, call::run);
        assertEquals("page " + page + ": " + why, refusal.getMessage());
    }

    private static void assertOwners(int[] owners, KvPages given) {
        int used = 0;
        int shared = 0;
        for (int page = 0; page < owners.length; page++) {
            used += owners[page] > 0 ? 1 : 0;
            shared += owners[page] > 1 ? 1 : 0;
            assertEquals(owners[page] > 1, given.isShared(page));
        }
        assertEquals(used, given.used());
        assertEquals(owners.length - used, given.left());
        assertEquals(shared, given.shared());
    }

    @Test
    void theFirstPagesComeFirst() {
        KvPages pages = new KvPages(3);
        assertEquals(0, pages.take());
        assertEquals(1, pages.take());
        pages.release(0);
        assertEquals(0, pages.take());
        assertEquals(2, pages.take());
        assertEquals(3, pages.pages());
        assertTrue(pages.left() == 0);
    }
}
