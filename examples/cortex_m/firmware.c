/* A firmware around an exported network: runs it on the images in images.h, counts instructions and the bytes of stack
   that a run takes, and prints all of it through the debugger's semihosting. No interrupt, no library but memcpy. */
#include "net.h"

#include "images.h"

#define TIMER_CONTROL (*(volatile uint32_t *)0x40000000U)
#define TIMER_VALUE (*(volatile uint32_t *)0x40000004U)
#define TIMER_RELOAD (*(volatile uint32_t *)0x40000008U)
#define PAINT 0xC5U
#define PAINTED 4096U

extern uint8_t stack_end[];
extern uint32_t stack_top[];

void reset(void);

static void fail(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_top, (const void *)reset, (const void *)fail, (const void *)fail, (const void *)fail, (const void *)fail,
    (const void *)fail,
};

static void call_host(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void print(uint32_t number, char end)
{
    char text[10];
    int32_t i;

    for (i = 0; i < 8; i++) {
        text[i] = "0123456789abcdef"[(number >> (28 - (4 * i))) & 15U];
    }
    text[8] = end;
    text[9] = '\0';
    call_host(0x04U, text);
}

static uint32_t count_stack(const uint8_t *top)
{
    const uint8_t *place = &top[-(int32_t)PAINTED];

    while ((place < top) && (*place == PAINT)) {
        place++;
    }
    return (uint32_t)(top - place);
}

void reset(void)
{
    static int32_t output[NET_OUTPUT_SIZE];
    uint8_t *const top = (uint8_t *)__builtin_frame_address(0) - 64; /* below what this function itself keeps */
    int32_t i;
    int32_t k;

    for (i = 0; i < (int32_t)IMAGES; i++) {
        uint32_t before;
        uint32_t after;

        for (k = 1; k <= (int32_t)PAINTED; k++) {
            top[-k] = PAINT;
        }
        TIMER_CONTROL = 0U;
        TIMER_RELOAD = 0xFFFFFFFFU;
        TIMER_VALUE = 0xFFFFFFFFU;
        TIMER_CONTROL = 1U;
        before = TIMER_VALUE;
        NET_RUN(images[i], output);
        after = TIMER_VALUE;
        print(before - after, ' ');
        print(count_stack(top), ' ');
        for (k = 0; k < (int32_t)NET_OUTPUT_SIZE; k++) {
            print((uint32_t)output[k], ' ');
        }
        print(0U, '\n');
    }
    call_host(0x18U, (const void *)0x20026U);
    fail();
}
