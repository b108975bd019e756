#include <criterion/criterion.h>
Test(rules, placeholder_until_written) {}
