# SPDX-License-Identifier: MIT
# A swap of the test's own, on a zram device that it makes and removes. No other swap is touched.
# shellcheck shell=bash

ZRAM_CONTROL=/sys/class/zram-control

# zram_on: sets and exports $ZRAM. Fails where there is no zram.
zram_on() {
	[[ $(id -u) == 0 && -r $ZRAM_CONTROL/hot_add ]] || return 1
	ZRAM=$(<$ZRAM_CONTROL/hot_add)
	export ZRAM
	echo 256M >"/sys/block/zram$ZRAM/disksize"
	mkswap "/dev/zram$ZRAM" >/dev/null
	swapon -p 32767 "/dev/zram$ZRAM"
}

zram_off() {
	[[ ${ZRAM-} ]] || return 0
	swapoff "/dev/zram$ZRAM" || :
	echo 1 >"/sys/block/zram$ZRAM/reset"
	echo "$ZRAM" >$ZRAM_CONTROL/hot_remove
	unset ZRAM
}
